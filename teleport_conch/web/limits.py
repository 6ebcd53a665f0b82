"""Every bound of the web API and the pages; ``docs/limits.rst`` says what happens at each."""

from __future__ import annotations

MAX_BODY_BYTES = 64 << 10
CALLS_PER_MINUTE = 300
"""From one address (one /64 of IPv6), of all routes together; of several workers each has its part."""
MAX_IN_PROGRESS = 200
"""Requests that are worked on at one time; most wait for auth."""
MAX_FIELDS = 16
"""Of a form."""
MAX_FIELD_CHARS = 4096
MAX_COOKIE_CHARS = 512
MAX_TTL_S = 10 * 365 * 24 * 3600.0
STYLE_KEPT_S = 365 * 24 * 3600
"""By browsers; its address changes with what it holds."""
