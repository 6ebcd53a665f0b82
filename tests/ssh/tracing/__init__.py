"""What the kernel sees of sessions: the pure parts by tables, the rest in this machine's own kernel."""
