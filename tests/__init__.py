"""Tests of teleport-conch; each folder mirrors a room of the package."""
