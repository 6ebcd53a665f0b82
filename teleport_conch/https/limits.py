"""What one HTTPS connection and one request may take, whoever serves it; ``docs/limits.rst`` has each."""

from __future__ import annotations

MAX_HEADER_BYTES = 16 << 10
MAX_HEADERS = 100
ARRIVAL_S = 15.0
"""From the first byte of a request to its last."""
PEEK_S = 10.0
"""From accepting a connection to its first bytes, where these decide who speaks over it."""
MAX_PEEKING = 2000
"""Connections that wait for these bytes; the next one takes the place of the one that has waited longest."""
MAX_PEEKING_PER_ADDRESS = 500
HANDSHAKE_S = 10.0
"""From the beginning of TLS to the end of the handshake."""
IDLE_S = 60.0
"""Between an answer and the next request."""
DISCARDED_BYTES = 1 << 20
"""Read and thrown away after a refusal, so that the client gets to read it; then the connection is cut."""
DISCARDING_S = 5.0
SAY_AGAIN_S = 60.0
"""Between two lines of the log about connections that were closed for their number."""
CLOSING_S = 2.0
"""For connections to be closed properly when a service stops."""
CLOSING_STEP_S = 0.05
ADDRESSES_REMEMBERED = 10_000
"""Whose failures and calls are counted; the oldest is forgotten first."""
EVENTS_PER_MINUTE = 60
"""Events of what was refused to one address; refusals go on beyond it, in silence."""
EVENTS_PER_MINUTE_IN_ALL = 600
