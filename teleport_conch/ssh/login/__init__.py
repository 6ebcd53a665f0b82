"""User authentication (RFC 4252), its policy, and the limits on who has not logged in."""
