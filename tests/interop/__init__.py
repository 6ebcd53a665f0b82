"""Tests against real programs: OpenSSH, rsync, git, and our own services started as a person would start them."""
