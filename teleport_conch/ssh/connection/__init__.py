"""The connection protocol (RFC 4254): channels, windows, requests and their answers."""
