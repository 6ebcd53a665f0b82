"""Tests of ``tsh``."""
