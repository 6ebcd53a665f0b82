"""User authentication (RFC 4252): the service that counts, waits and answers, and asks a policy for every decision.

One request is worked on at a time, and what is counted is counted for the whole connection. A failure is answered at a
fixed moment after its turn came, whatever it took to find it, so that nothing can be learned from a clock.
"""

from __future__ import annotations

from typing import Protocol

from twisted.conch.ssh import userauth as conch
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import (
    DISCONNECT_BY_APPLICATION,
    DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
    DISCONNECT_PROTOCOL_ERROR,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
    MSG_SERVICE_ACCEPT,
)
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.ssh.connection.channel import ChannelOwner
from teleport_conch.ssh.connection.host_key_proof import HostKeyProof
from teleport_conch.ssh.connection.requests import RequestQueue
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.login.admission import Visit
from teleport_conch.ssh.login.counts import Counts, Exhausted
from teleport_conch.ssh.login.interactive import (
    INTERACTIVE,
    MSG_INFO_RESPONSE,
    PASSWORD,
    Abandoned,
    Interaction,
    read_interactive,
    read_password,
)
from teleport_conch.ssh.login.policy import Answer, Attempt, LoginPolicy, Partial
from teleport_conch.ssh.login.proof import PUBLICKEY
from teleport_conch.ssh.login.publickey import METHODS, KeyRequest, NotOffered, PublicKeyMethod
from teleport_conch.ssh.login.refusals import Refusals
from teleport_conch.ssh.transport.hostkeys import HostKeys
from teleport_conch.wire import Reader, WireError

MAX_USER_CHARS = 256
FAILURE_S = 0.01
"""After which time a failure is answered; twice or four times as long, and so on, where deciding took longer."""


class AuthTransport(Protocol):
    """What user authentication needs of the server's transport.

    ``host_key_blob`` is the server's host key, or its certificate, as the first key exchange had it.
    """

    sessionID: bytes
    host_key_blob: bytes
    client_address: str
    login_policy: LoginPolicy
    visit: Visit

    @property
    def host_keys(self) -> HostKeys:
        """The host keys that the server has."""

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Sends one message."""

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Ends the connection with a reason."""

    def setService(self, service: SSHService) -> None:
        """Hands the connection to another service."""

    def authenticated(self) -> None:
        """The login succeeded: the time for it is over."""


class UserAuth(SSHService):
    """The ``ssh-userauth`` service of one connection.

    :param clock: for the moment at which failures are answered.
    """

    name = b"ssh-userauth"
    transport: AuthTransport  # type: ignore[assignment]  # the part of Conch's transport that is used here

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._queue = RequestQueue(self._failed)
        self._counts = Counts()
        self._user: bytes | None = None
        self._policy = LoginPolicy()
        self._interaction: Interaction | None = None
        self._done = False
        self._succeeded = False

    def serviceStarted(self) -> None:
        """The client may ask."""
        transport = self.transport
        self._policy = transport.login_policy
        self._refusals = Refusals(transport)
        self._keys = PublicKeyMethod(transport.sessionID, transport.host_key_blob, self._refusals.of_claim)

    def serviceStopped(self) -> None:
        """The connection went away, or the login succeeded."""
        self._done = True
        if not self._succeeded:
            self._queue.stop()

    def saying_goodbye(self) -> None:
        """The connection is about to end: a login that is still being decided comes to nothing."""
        self._done = True

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """Takes requests, and answers that are due; all else ends the connection (RFC 4252, section 6)."""
        if self._done:
            return
        if messageNum == conch.MSG_USERAUTH_REQUEST:
            self._enqueue(packet)
        elif messageNum != MSG_INFO_RESPONSE or self._interaction is None or not self._interaction.answer(packet):
            self._send_away(DISCONNECT_PROTOCOL_ERROR, b"log in first")

    def ask_again(self) -> None:
        """The client asks for this service once more: nothing begins anew, and it counts like a request."""
        if self._may_ask():
            self.transport.sendPacket(MSG_SERVICE_ACCEPT, wire.string(self.name))

    def _enqueue(self, packet: bytes) -> None:
        if self._interaction is not None:
            self._interaction.abandon()
        if self._may_ask():
            self._queue.put(lambda: self._request(packet), len(packet))

    def _may_ask(self) -> bool:
        try:
            self._counts.request()
        except Exhausted as limit:
            self._queue.stop()
            self._send_away(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, limit.why)
        return not self._done

    # One request.

    async def _request(self, packet: bytes) -> None:
        if self._done:
            return
        began = self._clock.seconds()
        reader = Reader(packet)
        user, service, method = reader.string(), reader.string(), reader.string()
        if service != Connection.name:
            self._send_away(DISCONNECT_SERVICE_NOT_AVAILABLE, b"no such service")
            return
        self._begin(user)
        try:
            await self._work(user, method, reader, began)
        except Abandoned:
            self._counts.failure()  # and nothing is answered (RFC 4252, section 5.1)

    def _begin(self, user: bytes) -> None:
        """Says the banner first of all; under another user name nothing counts that was proven before."""
        if self._user is None and self._policy.banner:
            self._refusals.say(*self._policy.banner.splitlines())
        if user != self._user:
            self._user, self._policy = user, self.transport.login_policy

    async def _work(self, user: bytes, method: bytes, reader: Reader, began: float) -> None:
        if method == b"none" and self._counts.requests == 1:
            self._send_failure()  # this is how clients ask what there is
            return
        try:
            attempt = Attempt(_user_name(user), self.transport.client_address)
            answer = await self._answer(attempt, method, reader, began)
        except TeleportError as refusal:
            self._refusals.of_request(user, refusal)
            self.transport.visit.failed = True
            await self._moment(began)
            self._counts.failure()
            self._send_failure()
        else:
            self._follow(answer)

    async def _answer(self, attempt: Attempt, method: bytes, reader: Reader, began: float) -> Answer | None:
        """None where the request was an offer, which is answered."""
        name = PUBLICKEY if method in METHODS else method
        if name not in map(str.encode, self._policy.methods(attempt.user)):
            raise NotOffered("This way to log in is not offered.")
        if name == INTERACTIVE:
            return await self._interact(attempt, reader)
        if name == PASSWORD:
            return await self._policy.password(attempt, read_password(reader))
        request = KeyRequest.read(method, reader)
        if request.signature is not None:
            return await self._keys.log_in(self._policy, attempt, request)
        await self._offer(attempt, request, began)
        return None

    async def _offer(self, attempt: Attempt, request: KeyRequest, began: float) -> None:
        self._counts.offer()
        acceptance = await self._keys.offer(self._policy, attempt, request)
        if acceptance:
            self.transport.sendPacket(conch.MSG_USERAUTH_PK_OK, acceptance)
        else:
            await self._moment(began)
            self._send_failure()

    async def _interact(self, attempt: Attempt, reader: Reader) -> Answer:
        read_interactive(reader)
        self._interaction = interaction = Interaction(self.transport.sendPacket)
        try:
            answer = await self._policy.interact(attempt, interaction)
        finally:
            self._interaction = None
        if interaction.abandoned:
            _give_up(answer)
            raise Abandoned
        return answer

    # What comes of it.

    def _follow(self, answer: Answer | None) -> None:
        if self._done:
            _give_up(answer)
        elif isinstance(answer, Partial):
            self._policy = answer.then
            self._send_failure(partial=True)
        elif answer is not None:
            self._succeed(answer)

    def _succeed(self, owner: ChannelOwner) -> None:
        self._done = self._succeeded = True
        self.transport.authenticated()
        self.transport.sendPacket(conch.MSG_USERAUTH_SUCCESS, b"")
        proof = HostKeyProof(self.transport.sessionID, self.transport.host_keys)
        self.transport.setService(Connection(owner, proof))

    async def _moment(self, began: float) -> None:
        """Waits for the first moment at which a failure of a request that ``began`` then may be answered."""
        taken, due = self._clock.seconds() - began, FAILURE_S
        while due <= taken:
            due *= 2
        await deferLater(self._clock, due - taken)

    def _send_failure(self, partial: bool = False) -> None:
        methods = self._policy.methods((self._user or b"").decode("utf-8", "replace"))
        self.transport.sendPacket(conch.MSG_USERAUTH_FAILURE, wire.name_list(methods) + wire.boolean(partial))

    # The end without a login.

    def _failed(self, failure: Failure) -> None:
        problem = failure.value
        if isinstance(problem, CancelledError):
            return
        if isinstance(problem, Exhausted):
            self._send_away(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, problem.why)
        elif isinstance(problem, WireError):
            self._send_away(DISCONNECT_PROTOCOL_ERROR, b"malformed authentication request")
        else:
            self._log.failure("authentication failed", failure=failure)
            self._send_away(DISCONNECT_BY_APPLICATION, b"the login failed; the log of the server says why")

    def _send_away(self, reason: int, why: bytes) -> None:
        self._done = True
        self.transport.sendDisconnect(reason, why)


def _give_up(answer: Answer | None) -> None:
    """A login came too late: whoever made its owner has to hear that there will be no channels."""
    if answer is not None and not isinstance(answer, Partial):
        answer.connection_ended()


def _user_name(user: bytes) -> str:
    """The name as text. Raises :class:`AccessDenied` for what no account and no log should ever see."""
    try:
        name = user.decode("utf-8")
    except UnicodeDecodeError:
        raise AccessDenied("A user name has to be UTF-8.") from None
    if not 0 < len(name) <= MAX_USER_CHARS or not name.isprintable():
        raise AccessDenied(f"A user name has 1 to {MAX_USER_CHARS} printable characters.")
    return name
