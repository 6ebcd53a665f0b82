"""When keys are exchanged anew: by us after so much data or time, and by the peer as often as is reasonable."""

from __future__ import annotations

from attrs import define, frozen

REKEY_BYTES = 1 << 30
REKEY_S = 3600.0
"""RFC 4253, section 9, recommends both."""

PEER_EXCHANGES_AT_ONCE = 32
BYTES_PER_EXCHANGE = 8 << 10
"""What earns the peer one more exchange, beside each second.

OpenSSH's ``RekeyLimit`` may be as little as 16 bytes, an exchange around every packet. Bulk data earns what that takes;
typing may not, and nobody has a reason for less than 16 KiB.
"""


@frozen
class RekeyLimits:
    """How much is sent, or received, with the same keys (in bytes), and how long they serve (in seconds)."""

    data_bytes: int = REKEY_BYTES
    age_s: float = REKEY_S


@define
class PeerExchanges:
    """The exchanges that a peer may begin; each costs us some milliseconds of a processor."""

    now: float
    left: float = float(PEER_EXCHANGES_AT_ONCE)

    def begin(self, now: float, moved_bytes: int) -> bool:
        """Whether the peer may begin one at ``now``, after so many bytes with the present keys, either way."""
        earned = moved_bytes / BYTES_PER_EXCHANGE + max(0.0, now - self.now)
        self.left = min(PEER_EXCHANGES_AT_ONCE, self.left + earned) - 1
        self.now = now
        return self.left >= 0
