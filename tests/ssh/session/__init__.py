"""Tests of teleport_conch.ssh.session.channel."""
