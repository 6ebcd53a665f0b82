"""The subsystem ``proxy:`` as a session: what the client's channel carries goes to a node, and back.

A ``ProxyCommand`` uses it where ``ProxyJump`` is not to be had.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from teleport_conch.proxy.dialing import NodeStream
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.session.channel import SessionChannel
from teleport_conch.ssh.session.inner_session import PlainSession


class NodeSession(PlainSession):
    """Couples a session channel with the stream to a node."""

    def __init__(self, clock: IReactorTime, channel: SessionChannel) -> None:
        self._channel = channel
        self.stream = NodeStream(clock, channel, self._ended)

    def _ended(self) -> None:
        self._channel.finish(ExitStatus(code=0))

    def input_received(self, data: bytes) -> None:
        self.stream.send(data)

    def input_ended(self) -> None:
        self.stream.end_sending()

    def channel_closed(self) -> None:
        self.stream.abandon()
