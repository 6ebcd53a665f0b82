"""The client's role: whom it believes, how it logs in, and what it asks for."""
