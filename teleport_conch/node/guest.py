"""What a person who has logged in may do on this node: sessions, connections from it, and their agent on it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from teleport_conch.access.decision import (
    AgentForward,
    Grant,
    Login,
    PortForward,
    X11Forward,
)
from teleport_conch.audit.inert import inert
from teleport_conch.audit.logins import who
from teleport_conch.errors import AccessDenied, BadParameter, TeleportError
from teleport_conch.node.environment import Place, accepts, host_environment, session_environment
from teleport_conch.node.files import FileWatching
from teleport_conch.node.forwarding import Forwarding
from teleport_conch.node.leases import HeldLease
from teleport_conch.node.permitted import Permitted, TooManySessions
from teleport_conch.node.stay import Stay
from teleport_conch.node.tracing import Tracing, kinds_of
from teleport_conch.node.watching import Watching, asked_for
from teleport_conch.ssh.connection.channel import (
    EXTENDED_STDERR,
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_RESOURCE_SHORTAGE,
    OPEN_UNKNOWN_CHANNEL_TYPE,
    Channel,
    ChannelRefused,
    Opener,
)
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.forwarding import agent, listening
from teleport_conch.ssh.forwarding.splice import StreamChannel
from teleport_conch.ssh.forwarding.x11 import X11Display, X11Request
from teleport_conch.ssh.forwarding.xauth import tell_xauth
from teleport_conch.ssh.monitor.orders import ANY_RC, HOST_RC, Program
from teleport_conch.ssh.processes.monitored import MonitoredLogin
from teleport_conch.ssh.processes.monitored_process import MonitoredProcess
from teleport_conch.ssh.processes.process import LocalSpawner, Process
from teleport_conch.ssh.processes.running import Spawner
from teleport_conch.ssh.session.channel import SessionChannel, SessionStart
from teleport_conch.ssh.session.process_session import Party, ProcessSession, SessionObserver

MAX_SESSIONS = 10


@define(eq=False)
class Guest(Permitted):
    """One authenticated connection: its channels, and the sessions in them."""

    login: MonitoredLogin | None = None
    lease: HeldLease | None = None
    _agents: dict[SessionChannel, agent.AgentSocket | agent.BrokeredAgent] = field(factory=dict)
    _displays: dict[SessionChannel, X11Display] = field(factory=dict)
    _open: set[SessionChannel] = field(factory=set)
    _forwards: Forwarding | None = None
    _stay: Stay = field(init=False)
    _connection: Opener | None = None
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        room = self.room
        self._stay = Stay(room.reactor, room.monotonic, self.claim, self._may_stay, room.configuration, self._send_away)

    # The owner of the connection's channels.

    def connection_started(self, connection: Opener) -> None:
        """Channels to the client are opened by it."""
        self._connection = connection
        if isinstance(connection, Connection):
            connection.on_activity = self._stay.active
        self._forwarding.started(connection)
        self.room.company.came(self)
        self._stay.begin()
        if self.lease is not None:
            self.lease.keep(self._stay.send_away_now)

    async def open_channel(self, kind: bytes, payload: bytes) -> Channel:
        """Sessions, and connections from here, each as the roles of this moment allow."""
        try:
            if kind == b"session":
                return self._session_channel()
            if kind == b"direct-tcpip":
                return await self._forwarding.direct_tcpip(payload)
            if kind == b"direct-streamlocal@openssh.com":
                return await self._forwarding.direct_streamlocal(payload)
        except TooManySessions as refusal:
            raise ChannelRefused(OPEN_RESOURCE_SHORTAGE, refusal.sentence) from refusal
        except AccessDenied as refusal:
            raise ChannelRefused(OPEN_ADMINISTRATIVELY_PROHIBITED, refusal.sentence) from refusal
        raise ChannelRefused(OPEN_UNKNOWN_CHANNEL_TYPE, "This node opens sessions and connections, and nothing else.")

    def _session_channel(self) -> SessionChannel:
        if len(self._open) >= MAX_SESSIONS:
            sentence = f"One connection may have {MAX_SESSIONS} sessions open at a time."
            self._rejected(sentence, MAX_SESSIONS)
            raise ChannelRefused(OPEN_RESOURCE_SHORTAGE, sentence)
        with self._refusals_told("session.start", sid=str(uuid.uuid4())):
            allowed = self._decide(Login(self.account.name)).options.max_sessions
            if 0 < allowed <= len(self._open):
                self._rejected("max_sessions limit reached", allowed)
                raise self._too_many(allowed, len(self._open))
        channel = SessionChannel(self)
        self._open.add(channel)
        return channel

    def _rejected(self, reason: str, limit: int) -> None:
        self.room.emit("session.rejected", reason=reason, max=limit, **who(self.claim))

    async def global_request(self, name: bytes, payload: bytes) -> bytes:
        """Answers a client that asks whether we are there, and listens for it where it may."""
        if name == b"keepalive@openssh.com":
            return b""
        if name in listening.REQUESTS:
            return await self._forwarding.listen(name, payload)
        raise AccessDenied("This node does nothing of that name.")

    def connection_ended(self) -> None:
        """Every channel has said for itself that it is closed; what listens for the client stops."""
        self.room.company.left(self)
        self._stay.end()
        if self.lease is not None:
            self.lease.end()
        self._forwarding.stop()
        if self.login is not None:
            self.login.leave()

    # The owner of its sessions.

    def accepts_variable(self, name: str) -> bool:
        return accepts(name, self.room.accept_env)

    async def start(self, request: SessionStart, channel: SessionChannel) -> Party:
        """Starts the shell, the command or the SFTP server, as the account of the login."""
        session_id = str(uuid.uuid4())
        with self._refusals_told("session.start", sid=session_id, **asked_for(request)):
            return await self._started(session_id, request, channel)

    async def _started(self, session_id: str, request: SessionStart, channel: SessionChannel) -> Party:
        options = self._decide(Login(self.account.name)).options
        traced = kinds_of(options.enhanced_recording) if self.room.traces else 0
        self._account_stayed()
        request = self._bound(request)
        if request.terminal is not None:
            self._extension("permit-pty", "a terminal")
        program = Program(
            self._command(request),
            self._environment(request, channel, self._place(session_id)),
            request.terminal,
            rc=HOST_RC if request.kind == "subsystem" else ANY_RC,
            traced=traced,
        )
        active = self._active(session_id, request)
        watching = Watching(self.room.reactor, self.room.emit, self.room.sessions, request, active, bool(traced))
        observers: list[SessionObserver] = [watching]
        if request.kind == "subsystem":
            observers.append(FileWatching(self.room.reactor, self.room.emit, watching.facts()))
        if request.terminal is not None and (recorder := self._recorder(active, request.terminal)) is not None:
            observers.append(recorder)
        session = ProcessSession(observers)
        party = session.join(channel)
        try:
            await session.begin()
            running = await self._spawner.spawn(program)
        except BaseException:
            session.abandon()
            raise
        if isinstance(running, MonitoredProcess):
            running.on_traced = Tracing(self.room.emit, watching.facts()).traced
        session.attach(Process(self.room.reactor, self.room.reactor, running, session))
        watching.started()
        return party

    async def forward_agent(self, channel: SessionChannel) -> None:
        """A socket for the client's agent, if the certificate and the roles permit it."""
        with self._refusals_told("agent-forward"):
            self._extension("permit-agent-forwarding", "agent forwarding")
            self._decide(AgentForward(self.account.name))
        connection = channel.connection
        if channel in self._agents or not isinstance(connection, Connection):
            return

        def open_channel(to_agent: StreamChannel) -> None:
            connection.open(agent.AGENT_CHANNEL, to_agent)

        reactor = self.room.reactor
        if self.login is not None and os.geteuid() != 0:
            sockets = self._forwarding.as_account()
            self._agents[channel] = await agent.brokered(reactor, self.account, sockets, open_channel)
        else:
            self._agents[channel] = agent.AgentSocket(reactor, reactor, self.account, open_channel)
        self.room.emit("agent-forward", **who(self.claim))

    async def forward_x11(self, channel: SessionChannel, request: X11Request) -> None:
        """A display that leads to the client's, if node, certificate and roles permit it."""
        with self._refusals_told("x11-forward"):
            if not self.room.displays:
                raise AccessDenied("This node does not forward X11 (ssh_service.x11.enabled).")
            self._extension("permit-X11-forwarding", "X11 forwarding")
            self._decide(X11Forward(self.account.name))
            connection = channel.connection
            if channel in self._displays or not isinstance(connection, Connection):
                raise AccessDenied("This session has a display already.")
            environment = self._environment(SessionStart("exec"), channel, self._place(""))
            reactor = self.room.reactor
            display = X11Display(reactor, reactor, connection, request, os.urandom, self.room.displays)
            self._displays[channel] = display
            try:
                await tell_xauth(reactor, reactor, self._spawner, environment, display.authority)
            except TeleportError:
                self._displays.pop(channel, None)
                await display.close()
                raise
        self.room.emit("x11-forward", **who(self.claim))

    def channel_closed(self, channel: SessionChannel) -> None:
        """Takes away what the channel had."""
        self._open.discard(channel)
        had = (self._agents.pop(channel, None), self._displays.pop(channel, None))
        self._close(each for each in had if each is not None)

    def _close(self, sockets: Iterable[agent.AgentSocket | agent.BrokeredAgent | X11Display]) -> None:
        for each in sockets:
            closing = Deferred.fromCoroutine(each.close())
            closing.addErrback(lambda failure: self._log.failure("a socket of a session stays", failure=failure))

    # Whether the guest may stay.

    def look_again(self) -> None:
        """Roles, users, locks or the configuration have changed."""
        self._stay.look_again()

    def _may_stay(self) -> Grant:
        """What may be done now; what may not be any more ends, also where the guest may stay."""
        name = self.account.name
        grant = self._decide(Login(name))
        if not self._still(PortForward(name, "", 0)):
            self._forwarding.withdraw()
        if self._agents and not self._still(AgentForward(name)):
            self._close(self._agents.popitem()[1] for _ in tuple(self._agents))
        if self._displays and not self._still(X11Forward(name)):
            self._close(self._displays.popitem()[1] for _ in tuple(self._displays))
        return grant

    def _send_away(self, reason: str) -> None:
        """The person reads why, in each session and as the reason of the end."""
        self.room.emit("client.disconnect", reason=reason, **who(self.claim))
        for channel in self._open:
            channel.write_extended(EXTENDED_STDERR, f"\r\n{inert(reason)}\r\n".encode())
        if isinstance(self._connection, Connection):
            self._connection.end(inert(reason))

    # Decisions and what follows from them.

    @property
    def _spawner(self) -> Spawner:
        return LocalSpawner(self.room.reactor, self.account) if self.login is None else self.login

    @property
    def _forwarding(self) -> Forwarding:
        if self._forwards is None:
            self._forwards = Forwarding(
                reactor=self.room.reactor,
                account=self.account,
                permit=self._may_forward,
                told=self._forward_told,
                everywhere=self.room.gateway_ports,
                login=self.login,
            )
        return self._forwards

    def _command(self, request: SessionStart) -> str | None:
        """What the account's shell runs; None for the shell itself."""
        if request.kind == "shell":
            return None
        if request.kind == "exec":
            return request.command
        if request.command != "sftp":
            raise BadParameter("This node has the subsystem sftp, and no other.")
        return self.room.sftp_server

    def _environment(self, request: SessionStart, channel: SessionChannel, place: Place) -> Mapping[str, str]:
        extra = {"SSH_AUTH_SOCK": self._agents[channel].path} if channel in self._agents else {}
        if channel in self._displays:
            extra["DISPLAY"] = self._displays[channel].name
        host = host_environment(self.account, self.room.login_defs, self.room.locales)
        return session_environment(self.account, place, host, request.environment, extra)
