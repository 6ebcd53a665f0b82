"""Tests of the room ``https``."""
