"""What the programs of a session do, as the kernel sees it: commands, opened files, connections. No Twisted here."""
