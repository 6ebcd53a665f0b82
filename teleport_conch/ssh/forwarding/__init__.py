"""Ports, Unix sockets, agents and X11, in both directions."""
