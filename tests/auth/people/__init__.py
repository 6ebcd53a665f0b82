"""Tests of ``teleport_conch.auth.people``."""
