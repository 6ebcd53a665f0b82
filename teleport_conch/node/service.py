"""``twist teleport-node``: builds the node from its settings, and starts it step by step."""

from __future__ import annotations

import os
import random
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, cast

from attrs import evolve
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.access.decision import Target
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.client.backoff import spread
from teleport_conch.config.addresses import Address
from teleport_conch.config.options import TeleportOptions
from teleport_conch.config.paths import prepare_data_dir
from teleport_conch.config.settings import NodeSettings, PamSettings, Settings
from teleport_conch.errors import StartError
from teleport_conch.member import Member, MemberChoice, cache_choice, host_keys_of, membership_of
from teleport_conch.node.active import ActiveSessions, LastingSessions
from teleport_conch.node.door import NodeFactory
from teleport_conch.node.environment import LOCALES, LOGIN_DEFS, read_bounded
from teleport_conch.node.guest_room import GuestRoom
from teleport_conch.node.labels import CommandLabels, LabelCommand
from teleport_conch.node.leases import ConnectionLeases
from teleport_conch.node.login import NodeLogin
from teleport_conch.node.monitored import Monitored
from teleport_conch.node.recordings import Recordings
from teleport_conch.proxy_protocol import Believer
from teleport_conch.resources.server import Server
from teleport_conch.ssh.monitor.orders import Settings as SessionSettings
from teleport_conch.ssh.processes.launching import start as start_monitor
from teleport_conch.ssh.processes.monitored import Monitor
from teleport_conch.ssh.processes.spawn import name_of
from teleport_conch.ssh.sftp.program import command_line as sftp_command_line
from teleport_conch.ssh.transport.hostkeys import HostKeys
from teleport_conch.starting import Reactor, port_number, stop_with
from teleport_conch.supervisor.account import why_as_root
from teleport_conch.supervisor.given import Given, rank_of
from teleport_conch.supervisor.listening import Listener, listen
from teleport_conch.supervisor.plan import plan_for
from teleport_conch.supervisor.service import supervised
from teleport_conch.supervisor.tracing import check_tracing
from teleport_conch.supervisor.working import Retiring, emptied
from teleport_conch.version import VERSION

KINDS = ("cert_authority", "cluster_config", "cluster_name", "role", "user", "lock", "access_request")
"""What a node follows. Not the other nodes: each change of one of them would go to all the others."""
LABEL_JITTER = 0.05
PAM_FOLDER = Path("/etc/pam.d")


class Options(TeleportOptions):
    """The options of ``twist teleport-node``."""

    services: ClassVar[frozenset[str]] = frozenset({"node"})


class NodeService(Retiring):
    """The node: joins, listens, and beats until it is stopped.

    :param given: what a supervisor started it with; None for a node that is one process.
    """

    _log = Logger()

    def __init__(self, reactor: Reactor, settings: Settings, given: Given | None = None) -> None:
        super().__init__(reactor)
        self._given = given
        self._retired = False
        self._node_reactor = reactor
        self._settings = settings
        self._node: NodeSettings = settings.node
        self._port = self._node.listen_addr.port
        self._factory: NodeFactory | None = None
        self._monitor: Monitor | None = None
        self._labels = CommandLabels(
            reactor,
            [LabelCommand(each.name, each.command, each.period, each.timeout) for each in self._node.commands],
            spread(random.random, LABEL_JITTER),
            self._label_changed,
        )

    async def start_up(self) -> None:
        """Folder, labels, identity, listener, in this order."""
        prepare_data_dir(self._settings.teleport.data_dir)
        if rank_of(self._given).leads:
            self._warn_of_its_account()
        self._monitor = self._start_monitor()
        host_key = b"" if self._monitor is None else await self._monitor.public_key()
        self.member = Member(self._node_reactor, self._choice(host_key))
        self._labels.setServiceParent(self)
        self.member.setServiceParent(self)
        identity = await self.member.joined()
        active = ActiveSessions(self._node_reactor, lambda: self.member.uplink.client)
        active.setServiceParent(self)
        self._sessions = sessions = LastingSessions(self._node_reactor, active)
        self._recordings = recordings = self._make_recordings()
        recordings.setServiceParent(self)
        monitored = await self._monitored()
        self._factory = self._make_factory(await self._host_keys(identity), identity, sessions, monitored)
        self.member.uplink.on_identity(self._new_identity)
        self._listening = await listen(self._node_reactor, listener_of(self._settings), self._given, self._factory)
        self._port = port_number(self._listening)
        self.member.uplink.beat_now()
        self._log.info("The node {name} serves SSH on {where}.", name=identity.node_name, where=str(self._address()))

    def _warn_of_its_account(self) -> None:
        if os.geteuid() != 0 and not self._is_monitored():
            own = name_of(os.geteuid())
            self._log.warn("The node does not run as root: it serves sessions of {own} only.", own=own)
        elif why := why_as_root("The node", self._settings.teleport.account):
            self._log.warn("{why}", why=why)

    def stopService(self) -> Deferred[None]:
        """Takes no more clients, and says goodbye to those that are there."""
        if self._factory is not None:
            self._listening.stopListening()
            self._factory.disconnect_all("The node is being stopped.")
        return super().stopService()

    async def retire(self) -> None:
        """See :class:`~teleport_conch.supervisor.working.Retiring`."""
        self._retired = True
        self._listening.stopListening()
        await self._recordings.retire()  # first, as a successor looks for its own once the member has left
        await self.member.retire()
        self._log.info("The node takes no more clients; {count} connections go on.", count=self._clients())

    async def drained(self) -> None:
        """See :class:`~teleport_conch.supervisor.working.Retiring`."""
        await emptied(self._node_reactor, lambda: self._clients() + self._sessions.count)

    def _clients(self) -> int:
        return 0 if self._factory is None else len(self._factory.connections)

    # What the node is.

    def _choice(self, host_key: bytes) -> MemberChoice:
        teleport = self._settings.teleport
        membership = evolve(membership_of(teleport, "Node", self._names()), host_key=host_key)
        cache, rank = cache_choice(teleport.cache), rank_of(self._given)
        after_s = self._node.break_glass_after
        return MemberChoice(teleport.data_dir, membership, cache, KINDS, self._record, rank, after_s)

    def _names(self) -> list[str]:
        """Names, beside the nodename, under which clients look for this node."""
        advertised = self._settings.teleport.advertise_ip
        return [each.host for each in self._node.public_addr] + ([advertised.host] if advertised else [])

    def _address(self) -> Address:
        """Where proxies are to dial this node; auth puts our address for one that means every interface."""
        advertised = self._settings.teleport.advertise_ip
        if self._node.public_addr:
            return self._node.public_addr[0]
        if advertised is not None:
            return Address(advertised.host, advertised.port or self._port)
        return Address(self._node.listen_addr.host, self._port)

    def _static_labels(self) -> Mapping[str, str]:
        return {**self._node.labels, **self.member.uplink.bound_labels}

    def _record(self) -> Server:
        return Server(
            kind="node",
            name=self.member.uplink.host_uuid,
            hostname=self._settings.teleport.nodename,
            addr=str(self._address()),
            public_addrs=tuple(map(str, self._node.public_addr)),
            labels=self._static_labels(),
            cmd_labels=self._labels.labels,
            version=VERSION,
        )

    def _target(self) -> Target:
        """The node as roles see it at this moment."""
        labels = {**self._labels.results, **self._static_labels()}  # as Server.all_labels has them
        return Target(labels=labels, name=self._settings.teleport.nodename, owner=self.member.uplink.host_uuid)

    def _label_changed(self) -> None:
        if self._factory is not None and not self._retired:
            self.member.uplink.beat_now()

    # What the node serves.

    def _is_monitored(self) -> bool:
        """Whether a supervisor gave us a monitor."""
        return self._given is not None and self._given.monitor is not None

    def _start_monitor(self) -> Monitor | None:
        """The process that starts sessions as any account; for our own, this one will do."""
        if not self._is_monitored():
            check_tracing(session_settings(self._node))
        if os.geteuid() != 0 and not self._is_monitored():
            return None
        settings, reactor = session_settings(self._node), self._node_reactor
        pam = settings.pam_service
        self._log.info("Sessions are opened {how}.", how=f"with PAM (service {pam})" if pam else "without PAM")
        if self._given is None or self._given.monitor is None:
            return start_monitor(reactor, reactor, settings, None, self._monitor_gone)
        end = socket.socket(fileno=self._given.monitor)
        return Monitor(reactor, reactor, end, self._monitor_gone)

    async def _monitored(self) -> Monitored | None:
        """The monitor, once it knows whom to trust."""
        if self._monitor is None:
            return None
        monitored = Monitored(self._monitor, self.member.authorities_ever)
        await monitored.trust()
        return monitored

    def _monitor_gone(self) -> None:
        if self.running:
            stop_with(self._node_reactor, Failure(StartError("The monitor of this node has ended; start it again.")))

    async def _host_keys(self, identity: HostIdentity) -> HostKeys:
        if self._monitor is None:
            return host_keys_of(identity)
        certificate = SSHCertificate.from_line(identity.ssh_certificate)
        return await self._monitor.host_keys(identity.ssh_key, certificate)

    def _make_recordings(self) -> Recordings:
        member, folder = self.member, self._settings.teleport.data_dir / "log" / "upload"
        cluster = member.configuration, member.emit, member.rank
        return Recordings(self._node_reactor, folder, lambda: member.uplink.client.recordings, *cluster)

    def _make_factory(
        self, host_keys: HostKeys, identity: HostIdentity, sessions: LastingSessions, monitored: Monitored | None
    ) -> NodeFactory:
        room = GuestRoom(
            reactor=self._node_reactor,
            emit=self.member.emit,
            sessions=sessions,
            company=self.member.company,
            configuration=self.member.configuration,
            leases=ConnectionLeases(
                self._node_reactor,
                time.monotonic,
                lambda: self.member.uplink.client.rules,
                lambda: self.member.configuration().session_control_timeout_s,
            ),
            recordings=self._recordings,
            host_uuid=identity.host_uuid,
            node_name=identity.node_name,
            server_address=(self._node.listen_addr.host, self._port),
            accept_env=self._node.accept_env,
            sftp_server=sftp_command_line(self._node.sftp_program, shutil.which),
            login_defs=read_bounded(LOGIN_DEFS),
            locales=[read_bounded(path) for path in LOCALES],
            monitored=monitored,
            displays=self._node.x11.displays,
            gateway_ports=self._node.gateway_ports,
            traces=self._node.enhanced_recording.enabled,
        )
        policy = NodeLogin(self._node_reactor, self.member, self._target, room, self.member.emit)
        limits = self.member.server_limits(self._settings.teleport.connection_limits)
        believer = Believer(identity.host_uuid, self.member.host_authorities)
        return NodeFactory(self._node_reactor, policy, host_keys, believer, self._node.proxied_only, limits)

    def _new_identity(self, identity: HostIdentity) -> None:
        renewed = Deferred.fromCoroutine(self._renew_host_keys(identity))
        renewed.addErrback(lambda failure: self._log.failure("the host key was not renewed", failure=failure))

    async def _renew_host_keys(self, identity: HostIdentity) -> None:
        if self._factory is not None:
            self._factory.host_keys = await self._host_keys(identity)


def pam_service(settings: PamSettings) -> str:
    """The service of PAM that sessions are opened with; empty for no PAM."""
    enabled = (PAM_FOLDER / settings.service_name).exists() if settings.enabled is None else settings.enabled
    return settings.service_name if enabled else ""


def session_settings(node: NodeSettings) -> SessionSettings:
    """How sessions are made, as the configuration has it."""
    return SessionSettings(pam_service=pam_service(node.pam), tracing=node.enhanced_recording.pages)


def listener_of(settings: Settings) -> Listener:
    """Where the node listens."""
    return Listener("node", "The node", settings.node.listen_addr)


def makeService(options: Options) -> IService:
    """The service of the plugin ``teleport-node``."""
    from twisted.internet import reactor as installed

    reactor, settings = cast(Reactor, installed), options.settings
    plan = plan_for(settings, "The node", [listener_of(settings)], session_settings(settings.node))
    return supervised(reactor, settings, plan, lambda given: NodeService(reactor, settings, given))
