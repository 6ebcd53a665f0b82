"""A server of the engine alone, without a cluster around it, and a folder from which OpenSSH's client reaches it."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from attrs import define, evolve, field, frozen
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IReactorFDSet, IReactorSocket, IReactorUNIX
from twisted.internet.utils import getProcessOutputAndValue

from teleport_conch.certs import keys
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.ssh.account import Account, lookup
from teleport_conch.ssh.connection.channel import OPEN_UNKNOWN_CHANNEL_TYPE, Channel, ChannelRefused, Opener
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.factory import ServerFactory
from teleport_conch.ssh.forwarding import listening
from teleport_conch.ssh.forwarding.account_sockets import BrokeredSockets
from teleport_conch.ssh.forwarding.agent import AGENT_CHANNEL, AgentSocket
from teleport_conch.ssh.forwarding.direct import DirectTCPIP, connect, connect_unix, parse_direct_streamlocal
from teleport_conch.ssh.forwarding.listening import ListenRules, RemoteForwards
from teleport_conch.ssh.forwarding.x11 import X11Display, X11Request
from teleport_conch.ssh.forwarding.xauth import tell_xauth
from teleport_conch.ssh.login.policy import Answer, Attempt, Claim, LoginPolicy
from teleport_conch.ssh.processes.process import LocalSpawner, Process
from teleport_conch.ssh.processes.terminal import Terminal
from teleport_conch.ssh.server import ServerTransport
from teleport_conch.ssh.session.channel import SessionChannel, SessionStart
from teleport_conch.ssh.session.process_session import Party, ProcessSession
from teleport_conch.ssh.transport import algorithms
from teleport_conch.ssh.transport.hostkeys import host_keys
from teleport_conch.starting import Reactor
from tests.certs import samples
from tests.interop.requirements import require
from tests.ssh.streams import StreamCase, clock, tcp

fds = cast(IReactorFDSet, installed_reactor)
sockets = cast(IReactorSocket, installed_reactor)
USER = pwd.getpwuid(os.geteuid()).pw_name
SFTP_SERVER = "/usr/lib/openssh/sftp-server"


@frozen
class Done:
    """What became of a program."""

    out: bytes
    err: bytes
    code: int


@define(eq=False)
class Shells:
    """One login: everything that the engine can do, as the account that runs the tests."""

    account: Account
    agents: list[AgentSocket] = field(factory=list)
    displays: list[X11Display] = field(factory=list)
    xauthority: str = "/dev/null"
    sockets: BrokeredSockets = field(init=False)
    forwards: RemoteForwards = field(init=False)
    ended: Deferred[None] = field(factory=Deferred)

    def connection_started(self, connection: Opener) -> None:
        self.sockets = BrokeredSockets(fds, sockets, clock, self.account)
        self.forwards = RemoteForwards(tcp, clock, connection, ListenRules(), self.sockets)

    async def open_channel(self, kind: bytes, payload: bytes) -> Channel:
        if kind == b"session":
            return SessionChannel(self)
        if kind == b"direct-tcpip":
            wanted = DirectTCPIP.parse(payload)
            endpoint = HostnameEndpoint(tcp, wanted.host, wanted.port)
            return await connect(clock, endpoint, f"{wanted.host}:{wanted.port}")
        if kind == b"direct-streamlocal@openssh.com":
            return await connect_unix(clock, self.sockets, parse_direct_streamlocal(payload))
        raise ChannelRefused(OPEN_UNKNOWN_CHANNEL_TYPE, "Nothing of that kind.")

    async def global_request(self, name: bytes, payload: bytes) -> bytes:
        if name in listening.REQUESTS:
            return await self.forwards.answer(listening.ListenRequest.parse(name, payload))
        raise AccessDenied("no")

    def connection_ended(self) -> None:
        Deferred.fromCoroutine(self._end()).chainDeferred(self.ended)

    async def _end(self) -> None:
        for display in self.displays:
            await display.close()
        await self.forwards.stop()
        await self.sockets.stop()

    def accepts_variable(self, name: str) -> bool:
        return name == "LC_TEST"

    async def start(self, request: SessionStart, channel: SessionChannel) -> Party:
        terminal, environment = None, {"PATH": os.defpath, "HOME": "/", **request.environment}
        if request.terminal is not None:
            size = request.terminal
            terminal = Terminal.open(self.account, size.rows, size.cols, 0, 0, size.modes)
            environment["TERM"] = size.term
        if self.displays:
            environment |= {"DISPLAY": self.displays[0].name, "XAUTHORITY": self.xauthority}
        if self.agents:
            environment["SSH_AUTH_SOCK"] = self.agents[0].path
        session = ProcessSession()
        party = session.join(channel)
        argv = {
            "shell": ["/bin/sh"],
            "exec": ["/bin/sh", "-c", request.command],
            "subsystem": [SFTP_SERVER],
        }[request.kind]
        reactor = cast(Reactor, installed_reactor)
        session.attach(Process.start(reactor, reactor, self.account, argv, environment, False, terminal, session))
        return party

    async def forward_x11(self, channel: SessionChannel, request: X11Request) -> None:
        assert isinstance(channel.connection, Connection)
        display = X11Display(tcp, clock, channel.connection, request, os.urandom)
        self.displays.append(display)
        environment = {"PATH": os.defpath, "XAUTHORITY": self.xauthority}
        await tell_xauth(fds, clock, LocalSpawner(fds, self.account), environment, display.authority)

    async def forward_agent(self, channel: SessionChannel) -> None:
        connection = channel.connection
        assert isinstance(connection, Connection)
        unix = cast(IReactorUNIX, installed_reactor)
        self.agents.append(
            AgentSocket(unix, clock, self.account, lambda to_agent: connection.open(AGENT_CHANNEL, to_agent))
        )

    def channel_closed(self, channel: SessionChannel) -> None:
        """The sockets of agents go with the test."""


@define
class OnePerson(LoginPolicy):
    """Lets in who has a certificate of the samples' user authority for the login."""

    xauthority: str = "/dev/null"
    logins: list[Shells] = field(factory=list)
    refusals: list[str] = field(factory=list)

    def check(self, claim: Claim) -> None:
        check_ssh_certificate(
            claim.certificate,
            type=CertificateType.USER,
            authorities=samples.USER_CA.public().ssh_keys,
            now=time.time(),
            principal=claim.user,
            source_address="127.0.0.1",
        )

    async def login(self, claim: Claim) -> Answer:
        self.check(claim)
        self.logins.append(Shells(evolve(lookup(USER), home="/"), xauthority=self.xauthority))
        return self.logins[-1]

    def refused(self, claim: Claim | Attempt, error: TeleportError) -> None:
        self.refusals.append(error.sentence)


def user_certificate(**changes: object) -> SSHCertificate:
    certificate = samples.USER_CA.sign_user_ssh(
        samples.SSH_BLOB, name="alice", logins=[USER], roles=[], traits={}, ttl_s=600, now=time.time()
    )
    return samples.resigned(certificate, **changes)


class OpenSSHCase(StreamCase):
    """A server on a free port, and a folder with the key, the certificate and the configuration of its client."""

    timeout = 60

    def setUp(self) -> None:
        self.ssh = require("ssh", "openssh-client")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o700)
        host_certificate = samples.HOST_CA.sign_host_ssh(
            samples.SSH_BLOB,
            host_uuid=samples.HOST_UUID,
            node_name="web1",
            cluster_name=samples.CLUSTER,
            principals=[],
            role="Node",
            ttl_s=600,
            now=time.time(),
        )
        self.policy = OnePerson()
        own_keys = host_keys(keys.ssh_private_pem(samples.SSH_KEY), host_certificate)
        self.factory = ServerFactory(clock, self.policy, own_keys)
        self.port = self.listen(self.factory)
        self.addCleanup(self.forget_agents)
        self.addCleanup(self.hang_up, self.factory)
        self.write("key", keys.ssh_private_pem(samples.SSH_KEY))
        self.write("key-cert.pub", user_certificate().to_line() + "\n")
        (authority,) = samples.HOST_CA.public().ssh_keys
        self.write("known_hosts", f"@cert-authority * {keys.public_line(authority)}\n")
        self.write("config", self.config())

    def offer_everything(self) -> None:
        """The server offers all that the engine speaks from now on, and not only what no audit finds fault with."""
        self.patch(ServerTransport, "key_exchanges", algorithms.KEY_EXCHANGES)
        self.patch(ServerTransport, "macs", algorithms.MACS)

    def config(self) -> str:
        return f"""\
Host web1
  HostName 127.0.0.1
  Port {self.port}
  User {USER}
  HostKeyAlias web1
  UserKnownHostsFile {self.folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  IdentityFile {self.folder}/key
  IdentitiesOnly yes
  IdentityAgent none
  BatchMode yes
  LogLevel INFO
"""

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)

    async def hang_up(self, factory: ServerFactory) -> None:
        factory.disconnect_all("The test is over.")
        await self.until(lambda: not factory.connections)
        for login in self.policy.logins:
            await login.ended

    async def forget_agents(self) -> None:
        for login in self.policy.logins:
            for agent in login.agents:
                await agent.close()

    async def program(self, path: str, *words: str, stdin: bytes = b"", **variables: str) -> Done:
        """Runs a program to its end."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), **variables}
        out, err, code = await getProcessOutputAndValue(path, words, env=environment, stdinBytes=stdin)
        return Done(out, err, code)

    async def at_web1(self, *command: str, options: Sequence[str] = (), stdin: bytes = b"", **variables: str) -> Done:
        """Runs a command on the server by ``ssh``."""
        words = ("-F", str(self.folder / "config"), *options, "web1", *command)
        return await self.program(self.ssh, *words, stdin=stdin, **variables)
