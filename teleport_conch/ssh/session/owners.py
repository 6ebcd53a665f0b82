"""Owners of connections that say no to everything; subclasses override what they want to allow."""

from __future__ import annotations

from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.connection.channel import OPEN_UNKNOWN_CHANNEL_TYPE, Channel, ChannelRefused, Opener
from teleport_conch.ssh.forwarding.x11 import X11Request
from teleport_conch.ssh.session.channel import Session, SessionChannel, SessionStart


class OpensNothing:
    """A :class:`~teleport_conch.ssh.connection.channel.ChannelOwner` that opens no channel, and grants no request."""

    def connection_started(self, connection: Opener) -> None:
        """Nothing is opened from here, either."""

    async def open_channel(self, kind: bytes, payload: bytes) -> Channel:
        raise ChannelRefused(OPEN_UNKNOWN_CHANNEL_TYPE, "Channels of this kind are not opened here.")

    async def global_request(self, name: bytes, payload: bytes) -> bytes:
        raise AccessDenied("This is not granted here.")

    def connection_ended(self) -> None:
        """Nothing was kept."""


class OpensSessions(OpensNothing):
    """Opens sessions, and as their :class:`~teleport_conch.ssh.session.channel.SessionOwner` starts nothing in them."""

    async def open_channel(self, kind: bytes, payload: bytes) -> Channel:
        return SessionChannel(self) if kind == b"session" else await super().open_channel(kind, payload)

    def accepts_variable(self, name: str) -> bool:
        return False

    async def start(self, request: SessionStart, channel: SessionChannel) -> Session:
        raise AccessDenied("Nothing is started here.")

    async def forward_agent(self, channel: SessionChannel) -> None:
        raise AccessDenied("Agents are not forwarded here.")

    async def forward_x11(self, channel: SessionChannel, request: X11Request) -> None:
        raise AccessDenied("X11 is not forwarded here.")

    def channel_closed(self, channel: SessionChannel) -> None:
        """Nothing was kept."""
