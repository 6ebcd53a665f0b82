"""What a peer did against the protocol, with the code of the disconnect that answers it."""

from __future__ import annotations

from typing import ClassVar

PROTOCOL_ERROR = 2
KEY_EXCHANGE_FAILED = 3
HOST_KEY_NOT_VERIFIABLE = 9


class ProtocolViolation(Exception):
    """The peer sent what it must not send now, or ever. The message names no secret, and may be told to the peer.

    :cvar reason: the code of SSH_MSG_DISCONNECT that goes with it (RFC 4253, section 11.1).
    """

    reason: ClassVar[int] = PROTOCOL_ERROR
