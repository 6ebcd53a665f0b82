"""Keys, SSH and TLS certificates as values: who signs them, and who believes them. No clock, no file, no reactor."""
