"""Tests of teleport_conch.ssh.login."""
