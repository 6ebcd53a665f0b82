"""Tests of the recordings that nodes hand in."""
