"""Tests of teleport_conch.ssh.processes."""
