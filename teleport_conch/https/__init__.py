"""How HTTPS is served: every limit before a path is looked at, routes, and bounded connections; whatever is served."""
