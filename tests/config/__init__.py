"""Tests of the configuration: its keys, its files, its flags and its samples."""
