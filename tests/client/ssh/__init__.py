"""Tests of the SSH that people's programs speak."""
