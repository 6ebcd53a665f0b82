"""Tests of teleport_conch.ssh.connection.service."""
