"""Tests of teleport_conch.ssh.client.connection."""
