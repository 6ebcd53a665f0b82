"""Tests of ``teleport_conch.auth.hosts``."""
