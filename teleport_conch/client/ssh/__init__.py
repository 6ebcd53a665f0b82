"""How a program of a person speaks SSH: with an agent, and through the proxy to a node."""
