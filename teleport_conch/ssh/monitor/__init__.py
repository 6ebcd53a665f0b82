"""The small processes beside an SSH server: one holds the host keys and verifies logins, one starts sessions."""
