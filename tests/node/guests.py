"""A node's policy with a cluster that the test makes up, and guests whose sessions are real processes."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast
from uuid import UUID

from attrs import define, evolve, field
from twisted.conch.ssh import connection as conch
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred

from teleport_conch import wire
from teleport_conch.access.decision import Target
from teleport_conch.access.directory import Directory
from teleport_conch.access.known import Known
from teleport_conch.access.locks import Locks
from teleport_conch.access.roles import Role
from teleport_conch.audit.event import build
from teleport_conch.cache import Emergency
from teleport_conch.certs.certificate import SSHCertificate, option
from teleport_conch.company import Company
from teleport_conch.errors import TeleportError
from teleport_conch.node.guest import Guest
from teleport_conch.node.guest_room import GuestRoom
from teleport_conch.node.leases import ConnectionLeases
from teleport_conch.node.login import NodeLogin
from teleport_conch.node.recordings import Recordings
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.session import ActiveSession
from teleport_conch.resources.user import User
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.login.policy import Claim
from teleport_conch.starting import Reactor
from tests.audit.shipping import SampleAuth, at_once
from tests.certs import samples
from tests.references import unreferenced
from tests.ssh import messages
from tests.ssh.recording import RecordingTransport
from tests.ssh.streams import StreamCase

NOBODY = User("alice", ())
USER = pwd.getpwuid(os.geteuid()).pw_name
CLIENT = "192.0.2.7:50000"
SFTP_SERVER = "/usr/lib/openssh/sftp-server"


@define
class SampleCluster:
    """What a node knows of its cluster."""

    authorities: tuple[bytes, ...] = field(factory=lambda: samples.USER_CA.public().ssh_keys)
    directory: Directory = field(factory=Directory)
    locks: Locks = field(factory=Locks)
    away: bool = False
    too_old: Exception | None = None

    def user_authorities(self) -> Collection[bytes]:
        return self.authorities

    def known(self) -> Known:
        if self.too_old is not None:
            raise self.too_old
        return Known(samples.CLUSTER, self.directory, self.locks)

    def emergency(self) -> Emergency | None:
        return Emergency(self.authorities, Known(samples.CLUSTER, locks=self.locks)) if self.away else None


@define
class Events:
    """Takes events down, once the catalogue has agreed to them."""

    kept: list[dict[str, object]] = field(factory=list)

    def emit(self, name: str, /, *, success: bool = True, **fields: object) -> None:
        event = build(name, success, {"server_id": samples.HOST_UUID, **fields}, time.time(), str(UUID(int=0)))
        self.kept.append(event)

    def names(self) -> list[object]:
        return [event["event"] for event in self.kept]

    def last(self, name: str) -> dict[str, object]:
        return [event for event in self.kept if event["event"] == name][-1]


@define
class SessionList:
    """The node's list of active sessions."""

    running: dict[str, ActiveSession] = field(factory=dict)
    seen: list[ActiveSession] = field(factory=list)

    def started(self, session: ActiveSession) -> None:
        self.running[session.id] = session
        self.seen.append(session)

    def ended(self, session_id: str) -> None:
        del self.running[session_id]


@define
class SampleLeases:
    """Auth, as far as it counts connections."""

    problem: TeleportError | None = None
    taken: list[tuple[str, int]] = field(factory=list)
    given_back: list[str] = field(factory=list)

    async def take_lease(self, kind: str, user: str, most: int, ttl_s: float) -> str:
        assert (kind, ttl_s) == ("connection", 120.0)
        await self.renew_lease("", ttl_s)
        self.taken.append((user, most))
        return f"lease-{len(self.taken)}"

    async def renew_lease(self, lease_id: str, ttl_s: float) -> None:
        if self.problem is not None:
            raise self.problem

    async def give_back_lease(self, lease_id: str) -> None:
        self.given_back.append(lease_id)


def certificate(
    logins: Sequence[str] = (USER,),
    roles: Sequence[str] = ("access",),
    options: Sequence[tuple[str, str]] = (),
    without: Sequence[str] = (),
    **changes: object,
) -> SSHCertificate:
    """Alice's certificate, ``without`` some extensions, and with whatever is changed signed again."""
    signed = samples.USER_CA.sign_user_ssh(
        samples.SSH_BLOB,
        name="alice",
        logins=logins,
        roles=roles,
        traits={"logins": list(logins)},
        ttl_s=600,
        now=time.time(),
        critical_options=options,
    )
    if without:
        kept = tuple((name, data) for name, data in signed.extensions if name not in without)
        assert len(kept) == len(signed.extensions) - len(without), without
        changes["extensions"] = kept
    return samples.resigned(signed, **changes)


def claim(user: str = USER, signed: SSHCertificate | None = None, client: str = CLIENT) -> Claim:
    return Claim(user, certificate() if signed is None else signed, client)


forced = option("force-command", "echo forced; echo $SSH_ORIGINAL_COMMAND")


class NodeCase(StreamCase):
    """A node with the label ``env=test``, and a guest on a connection whose other end is the test."""

    def setUp(self) -> None:
        self.cluster, self.events, self.sessions = SampleCluster(), Events(), SessionList()
        self.target = Target(labels={"env": "test"}, name="web1")
        reactor = cast(Reactor, installed_reactor)
        self.configuration = ClusterConfig()
        self.lease_client = SampleLeases()
        self.company = Company(reactor, self.cluster.known)
        self.auth, self.recorded = SampleAuth(), Path(self.mktemp())
        self.recordings = Recordings(
            reactor,
            self.recorded,
            lambda: self.auth,
            lambda: self.configuration,
            self.events.emit,
            in_thread=at_once,
        )
        self.recordings.startService()
        self.addCleanup(self.recordings.stopService)
        self.room = GuestRoom(
            reactor=reactor,
            emit=self.events.emit,
            sessions=self.sessions,
            company=self.company,
            configuration=lambda: self.configuration,
            recordings=self.recordings,
            leases=ConnectionLeases(reactor, time.monotonic, lambda: self.lease_client, lambda: 120.0),
            host_uuid=samples.HOST_UUID,
            node_name="web1",
            server_address=("127.0.0.1", 3022),
            accept_env=("LANG", "LC_*"),
            sftp_server=SFTP_SERVER,
            login_defs="",
            locales=("LANG=C.UTF-8",),
        )
        self.policy = NodeLogin(reactor, self.cluster, lambda: self.target, self.room, self.events.emit)

    def give(self, *roles: Role) -> None:
        """From now on alice has another role than the one that her certificate was signed with, or none."""
        self.cluster.directory = Directory({"access": roles[0]}) if roles else Directory(users={"alice": NOBODY})

    async def enter(self, signed: SSHCertificate | None = None) -> Guest:
        """Logs in, and connects the guest."""
        guest = await self.policy.login(claim(signed=signed))
        # Not the shell of whoever runs the tests, whose own files may print or do anything.
        guest.account = evolve(guest.account, shell="/bin/sh", home="/")  # noqa: S604
        self.transport = RecordingTransport()
        self.connection = Connection(guest)
        self.connection.transport = self.transport
        self.connection.serviceStarted()
        self.addCleanup(self.leave)
        self.guest = guest
        return guest

    async def leave(self) -> None:
        """The connection is gone, and with it whatever ran."""
        self.connection.serviceStopped()
        children = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
        await self.until(lambda: open(children).read() == "")  # noqa: SIM115

    def receive(self, number: int, payload: bytes) -> None:
        self.connection.packetReceived(number, payload)

    async def session(self) -> int:
        """The number of a new session channel."""
        self.receive(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"session", 40, 1 << 30, 1 << 15))
        number, payload = self.transport.take()[-1]
        self.assertEqual(number, conch.MSG_CHANNEL_OPEN_CONFIRMATION, payload)
        return int.from_bytes(payload[4:8], "big")

    def ask(self, channel: int, name: bytes, payload: bytes = b"") -> bool:
        """Whether a request of a channel was granted."""
        self.receive(conch.MSG_CHANNEL_REQUEST, messages.request(channel, name, True, payload))
        replies = (conch.MSG_CHANNEL_SUCCESS, conch.MSG_CHANNEL_FAILURE)
        (answer,) = (number for number, _ in self.transport.sent if number in replies)
        self.transport.sent = [each for each in self.transport.sent if each[0] not in replies]
        return answer == conch.MSG_CHANNEL_SUCCESS

    def pty(self, channel: int) -> bool:
        sizes = b"".join(map(wire.uint32, (80, 24, 0, 0)))
        return self.ask(channel, b"pty-req", wire.text("xterm") + sizes + wire.string(b""))

    async def until_closed(self) -> list[tuple[int, bytes]]:
        """What was sent until a channel was closed."""
        await self.until(lambda: conch.MSG_CHANNEL_CLOSE in [number for number, _ in self.transport.sent])
        return self.transport.take()

    async def run_command(self, name: bytes, command: str | None = None) -> tuple[str, str, int]:
        """Output, errors and exit code of a session of its own."""
        channel = await self.session()
        self.assertTrue(self.ask(channel, name, b"" if command is None else wire.text(command)))
        self.receive(conch.MSG_CHANNEL_EOF, wire.uint32(channel))
        return self.outcome(await self.until_closed())

    def outcome(self, sent: list[tuple[int, bytes]]) -> tuple[str, str, int]:
        out = b"".join(payload[8:] for number, payload in sent if number == conch.MSG_CHANNEL_DATA)
        err = b"".join(payload[12:] for number, payload in sent if number == conch.MSG_CHANNEL_EXTENDED_DATA)
        (status,) = (payload for number, payload in sent if number == conch.MSG_CHANNEL_REQUEST)
        return out.decode(), unreferenced(err.decode()), status[-1]

    async def open_refused(self, kind: bytes, payload: bytes = b"") -> tuple[int, str]:
        """Reason and sentence of an open that has to be refused."""
        self.receive(conch.MSG_CHANNEL_OPEN, messages.open_channel(kind, 40, 1 << 20, 1 << 15, payload))
        await self.until(lambda: bool(self.transport.sent))
        ((number, answer),) = self.transport.take()
        self.assertEqual(number, conch.MSG_CHANNEL_OPEN_FAILURE)
        reader = wire.Reader(answer)
        reader.uint32()
        return reader.uint32(), unreferenced(reader.text())


def coroutine_result(case: StreamCase, coroutine: object) -> object:
    """What a coroutine answers that waits for nothing."""
    return case.successResultOf(Deferred.fromCoroutine(coroutine))  # type: ignore[arg-type]  # any coroutine will do
