"""Recordings of sessions: the files that nodes hand in piece by piece, and the list of them."""
