"""Tests of the SSH engine."""
