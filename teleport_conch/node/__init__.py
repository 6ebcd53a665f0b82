"""The node: an SSH server that takes certificates only, and tells auth that it is there."""
