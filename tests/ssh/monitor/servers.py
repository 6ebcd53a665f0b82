"""What a server does with a monitor, without SSH: keys, logins that clients signed, sessions read to their end."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path
from typing import cast

from attrs import define, field
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import TeleportError
from teleport_conch.ssh.login.proof import LoginProof
from teleport_conch.ssh.monitor import frames
from teleport_conch.ssh.monitor.orders import Program, Settings
from teleport_conch.ssh.processes import launching
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.monitored import Monitor, MonitoredLogin
from teleport_conch.ssh.processes.process import Process
from teleport_conch.ssh.transport.hostkeys import HostKeys
from teleport_conch.ssh.transport.kex import Transcript
from teleport_conch.ssh.transport.negotiation import EachWay, KexInit
from teleport_conch.starting import Reactor
from tests.certs import samples

HOST_KEY = keys.generate_ssh_key()
HOST_BLOB = keys.public_blob(HOST_KEY.public_key())
ALGORITHM = b"ssh-ed25519-cert-v01@openssh.com"
PLAIN = Settings(login_records=False)
reactor = cast(Reactor, installed_reactor)


def own_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def host_certificate(
    now: float, blob: bytes = HOST_BLOB, host_uuid: str = samples.HOST_UUID, role: str = "Node"
) -> SSHCertificate:
    return samples.HOST_CA.sign_host_ssh(
        blob,
        host_uuid=host_uuid,
        node_name="web1",
        cluster_name=samples.CLUSTER,
        principals=[],
        role=role,
        ttl_s=3600,
        now=now,
    )


def user_certificate(
    now: float, *logins: str, authority: Authority = samples.USER_CA, **changes: object
) -> SSHCertificate:
    """Alice's, for these accounts."""
    certificate = authority.sign_user_ssh(
        samples.SSH_BLOB, name="alice", logins=list(logins), roles=["access"], traits={}, ttl_s=3600, now=now
    )
    return samples.resigned(certificate, **changes) if changes else certificate


def offer(cookie: bytes) -> bytes:
    """A server's KEXINIT with a cookie."""
    names: tuple[bytes, ...] = (b"aes128-ctr",)
    each = EachWay(names, names)
    return KexInit(cookie, (b"curve25519-sha256",), (b"ssh-ed25519",), each, each, each).to_payload()


def transcript(cookie: bytes, host_key: bytes = HOST_BLOB) -> Transcript:
    """An exchange of keys, unlike every other."""
    said = b"SSH-2.0-client", b"SSH-2.0-server", b"\x14client", offer(cookie), host_key
    return Transcript(b"curve25519-sha256", *said, os.urandom(32), os.urandom(32), wire.mpint(1 << 200))


def signed_proof(session_id: bytes, user: str, certificate: SSHCertificate, host_key: bytes = b"") -> LoginProof:
    """What a client with the key of ``certificate`` sends."""
    blank = LoginProof(session_id, user, ALGORITHM, certificate.to_blob(), b"", host_key)
    signature = wire.text("ssh-ed25519") + wire.string(samples.SSH_KEY.sign(blank.signed_part()))
    return LoginProof(session_id, user, ALGORITHM, certificate.to_blob(), signature, host_key)


@define
class Heard:
    """What a session wrote, and how it ended."""

    output: bytes = b""
    error: bytes = b""
    ended: Deferred[ExitStatus] = field(factory=Deferred)

    def output_received(self, data: bytes) -> None:
        self.output += data

    def error_received(self, data: bytes) -> None:
        self.error += data

    def output_ended(self) -> None:
        """Nothing to do."""

    def error_ended(self) -> None:
        """Nothing to do."""

    def exited(self, status: ExitStatus) -> None:
        self.ended.callback(status)


class MonitorCase(TestCase):
    """Runs a real monitor, which is gone when the test is."""

    timeout = 60
    settings = PLAIN
    host_keys: HostKeys
    monitor_pid = 0

    def start_monitor(self, folder: Path | None = None, settings: Settings | None = None) -> Monitor:
        """A monitor that serves this process.

        :param folder: where it keeps a host key of its own.
        """
        ours, theirs = frames.pair()
        with theirs:
            process = launching.launch([theirs], settings or self.settings, folder)
        self.monitor_pid = process.pid
        monitor = Monitor(reactor, reactor, ours, lambda: None)
        self.addCleanup(process.wait)
        self.addCleanup(monitor.close)
        return monitor

    async def keeping_monitor(self, folder: Path) -> Monitor:
        """One that keeps the host key in a folder, has shown its certificate, and trusts the users' authority."""
        monitor = self.start_monitor(folder)
        self.host_keys = await monitor.host_keys("", host_certificate(reactor_now(), await monitor.public_key()))
        await monitor.trust(samples.USER_CA.public().ssh_keys)
        return monitor

    async def ready_monitor(self, settings: Settings | None = None) -> Monitor:
        """One that holds the host key, and trusts the users' authority."""
        monitor = self.start_monitor(settings=settings)
        self.host_keys = await monitor.host_keys(keys.ssh_private_pem(HOST_KEY), host_certificate(reactor_now()))
        await monitor.trust(samples.USER_CA.public().ssh_keys)
        return monitor

    def exchange(self) -> Transcript:
        """What the monitor of :meth:`ready_monitor` signs."""
        return transcript(self.host_keys[b"ssh-ed25519"].cookie())

    async def session(self, monitor: Monitor) -> bytes:
        """The identifier of a session that it has signed for."""
        exchange = self.exchange()
        await monitor.sign(exchange)
        return exchange.digest

    async def logged_in(self, monitor: Monitor, user: str = "", **changes: object) -> MonitoredLogin:
        """Alice's login as an account of this host."""
        return await monitor.log_in(await self.proof(monitor, user, **changes), "127.0.0.1")

    async def proof(self, monitor: Monitor, user: str = "", **changes: object) -> LoginProof:
        """What Alice's client signed for a session of this monitor."""
        name = user or own_name()
        session_id = await self.session(monitor)
        certificate = samples.resigned(user_certificate(reactor_now(), name), **changes)
        return signed_proof(session_id, name, certificate)

    async def run_to_end(self, login: MonitoredLogin, program: Program) -> tuple[Heard, ExitStatus]:
        """What a program of a session writes until it ends."""
        heard = Heard()
        process = Process(reactor, reactor, await login.spawn(program), heard)
        process.end_input()
        return heard, await heard.ended

    async def refused(self, answer: object, kind: type[TeleportError]) -> str:
        """The sentence of a refusal that is due."""
        try:
            await cast(Deferred[object], answer)
        except kind as refusal:
            return refusal.sentence
        raise AssertionError(f"{kind.__name__} was due")


def reactor_now() -> float:
    return time.time()
