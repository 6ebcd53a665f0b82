"""Tests of the stores: one contract, run against each of them."""
