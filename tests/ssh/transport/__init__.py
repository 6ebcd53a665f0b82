"""Tests of teleport_conch.ssh.transport.base."""
