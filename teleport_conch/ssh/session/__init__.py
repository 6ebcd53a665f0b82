"""Sessions (RFC 4254, section 6), and who owns them."""
