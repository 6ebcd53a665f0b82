"""Programs of the host, run for a login: accounts, terminals, pipes, with or without a monitor."""
