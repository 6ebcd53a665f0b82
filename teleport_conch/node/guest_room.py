"""What all guests of a node share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen

from teleport_conch.company import Company
from teleport_conch.node.environment import Place
from teleport_conch.node.leases import ConnectionLeases
from teleport_conch.node.monitored import Monitored
from teleport_conch.node.recordings import Recordings
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.session import ActiveSession
from teleport_conch.ssh.login.policy import Claim
from teleport_conch.starting import Reactor

Emit = Callable[..., object]


class Sessions(Protocol):
    """The sessions of this node that are running, as auth is told of them."""

    def started(self, session: ActiveSession) -> None:
        """A session has begun."""

    def ended(self, session_id: str) -> None:
        """It is over."""


@frozen
class GuestRoom:
    """What all guests of one node share.

    :param company: everybody who is connected to this node.
    :param configuration: of the cluster, at each moment.
    :param leases: of connections, for people whose roles limit them.
    :param recordings: of sessions.
    :param monotonic: seconds that nobody sets.
    :param accept_env: variables that clients may set.
    :param sftp_server: what serves SFTP, as a command line for any shell.
    :param displays: the numbers that displays of X11 may have, where certificates and roles permit it, too; no number,
        no X11.
    :param gateway_ports: whether guests may listen on all interfaces, and not on loopback alone.
    :param traces: whether what the programs of sessions do is recorded, as far as roles say so.
    :param login_defs, locales: the texts of the host's files.
    :param monitored: where sessions are started for logins that are verified once more; None where this process starts
        them itself, of its own account only.
    """

    reactor: Reactor
    emit: Emit
    sessions: Sessions
    company: Company
    configuration: Callable[[], ClusterConfig]
    leases: ConnectionLeases
    recordings: Recordings
    host_uuid: str
    node_name: str
    server_address: tuple[str, int]
    accept_env: Sequence[str]
    sftp_server: str
    login_defs: str
    locales: Sequence[str]
    monotonic: Callable[[], float] = time.monotonic
    monitored: Monitored | None = None
    displays: range = range(0)
    gateway_ports: bool = False
    traces: bool = False

    def place(self, claim: Claim, cluster: str, session_id: str) -> Place:
        """Where a session runs, and for whom, as its programs can read it."""
        return Place(
            user=claim.certificate.key_id,
            session_id=session_id,
            host_uuid=self.host_uuid,
            cluster=cluster,
            client=claim.client,
            server=self.server_address,
        )

    def active(self, claim: Claim, login: str, session_id: str, interactive: bool) -> ActiveSession:
        """A session that begins now, as auth is told of it."""
        now = self.reactor.seconds()
        return ActiveSession(
            id=session_id,
            user=claim.certificate.key_id,
            login=login,
            server_id=self.host_uuid,
            server_hostname=self.node_name,
            remote_addr=claim.client_address,
            created_at=now,
            last_active_at=now,
            interactive=interactive,
        )
