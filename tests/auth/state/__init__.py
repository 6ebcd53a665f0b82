"""Tests of ``teleport_conch.auth.state``."""
