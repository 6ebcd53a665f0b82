"""Tests of teleport_conch.certs."""
