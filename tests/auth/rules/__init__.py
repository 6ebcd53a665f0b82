"""Tests of ``teleport_conch.auth.rules``."""
