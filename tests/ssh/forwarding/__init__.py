"""Tests of teleport_conch.ssh.forwarding.direct."""
