"""The door: finds the node that a client asks for, and connects the two."""
