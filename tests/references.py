"""Sentences that people read who are refused end in a reference, which is another one each time."""

from __future__ import annotations

import re

REFERENCE = re.compile(r" \(reference ([0-9a-z]{8})\)")


def unreferenced(sentence: str) -> str:
    """The sentence without it."""
    return REFERENCE.sub("", sentence)
