"""Tests of ``teleport_conch.auth.routes``."""
