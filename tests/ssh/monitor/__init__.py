"""The processes beside an SSH server, as processes and in parts."""
