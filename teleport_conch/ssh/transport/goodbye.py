"""How a connection ends: one disconnect with the right code, one event of the log, and nothing read behind either."""

from __future__ import annotations

from twisted.conch.ssh.transport import SSHTransportBase
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from teleport_conch.errors import TeleportError
from teleport_conch.ssh.transport.messages import MSG_DISCONNECT, Disconnect
from teleport_conch.ssh.transport.tcp import TCPTransport
from teleport_conch.ssh.transport.violation import HOST_KEY_NOT_VERIFIABLE, PROTOCOL_ERROR, ProtocolViolation
from teleport_conch.wire import WireError

GOODBYE_S = 2.0
"""How long a peer may take to close its side behind a goodbye."""


class Leaving(SSHTransportBase):
    """The end of a transport.

    :ivar clock: measures every time-out; to be set before the connection is made.
    """

    _log = Logger()
    clock: IReactorTime
    transport: TCPTransport  # type: ignore[assignment]  # SSH runs over TCP, or over what behaves like it
    _ended = False
    _number = 0
    """The message that is being handled, or was handled last."""
    _abort: IDelayedCall | None = None

    @property
    def peer_address(self) -> str:
        """What the log calls the peer."""
        return "?"

    @property
    def phase(self) -> str:
        """Where the connection stands: ``greeting``, ``key exchange``, ``login`` or ``connection``."""
        raise NotImplementedError

    def refused(self, problem: BaseException) -> None:
        """The connection is about to be ended by us, for this."""

    def transmit(self, number: int, *parts: bytes | memoryview) -> None:
        """Sends a message now."""
        raise NotImplementedError

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Says why, and closes our direction; a peer that does not close its own is cut off after two seconds.

        To close both at once would answer what the peer is just sending with a reset, before it reads the reason.
        """
        if not self._ended:
            self._log_end(reason, desc.decode("utf-8", "replace"))
            self._say_goodbye(reason, desc)

    def _refuse(self, problem: BaseException) -> None:
        """The one end of everything that is wrong with what the peer sends."""
        if not self._ended:
            self.refused(problem)
            reason, sentence, why = verdict(problem)
            self._log_end(reason, why)
            self._say_goodbye(reason, sentence.encode())

    def _log_end(self, reason: int, why: str) -> None:
        self._log.info(
            "{peer} is sent away in the phase {phase}, at message {number}: {why} ({code})",
            peer=self.peer_address,
            phase=self.phase,
            number=self._number,
            why=why,
            code=reason,
        )

    def _say_goodbye(self, reason: int, desc: bytes) -> None:
        self._end()
        self.transmit(MSG_DISCONNECT, Disconnect(reason, desc).to_content())
        self.transport.loseWriteConnection()

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        """The peer says goodbye, most often because its person is done."""
        said = Disconnect.parse(packet)
        self._log.debug("{peer} left: {why!r} ({code})", peer=self.peer_address, why=said.sentence, code=said.reason)
        self.receiveError(said.reason, said.sentence)
        self._end()
        self.transport.loseConnection()

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        """Why the peer leaves."""

    def _end(self) -> None:
        """From now on nothing is read, and nothing that waits to be written keeps the connection."""
        self._ended = True
        self.transport.unregisterProducer()
        self._abort = self.clock.callLater(GOODBYE_S, self._cut_off)

    def _cut_off(self) -> None:
        self.transport.abortConnection()


def verdict(problem: BaseException) -> tuple[int, str, str]:
    """The code of the disconnect, the sentence for the peer, and the one for the log, which may know more."""
    if isinstance(problem, ProtocolViolation):
        return problem.reason, str(problem), str(problem)
    if isinstance(problem, WireError):
        return PROTOCOL_ERROR, "a message cannot be read", str(problem)
    if isinstance(problem, TeleportError):  # of whoever verifies a host key, or signs with one
        return HOST_KEY_NOT_VERIFIABLE, "the host key is not accepted", problem.sentence
    return PROTOCOL_ERROR, "a message cannot be handled", repr(problem)


def cancel(call: IDelayedCall | None) -> None:
    """Cancels what is still to come."""
    if call is not None and call.active():
        call.cancel()
