# ruff: noqa: RUF009 - key() declares a field of a settings class, as attrs.field does, and shares no state
"""The frozen settings that services are built from: field names are the keys of ``/etc/teleport.yaml``.

Durations are seconds as float, and infinity where the file says ``never``. A field declares its key: what is not
declared here or in :mod:`teleport_conch.config.unbuilt` is refused as unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from teleport_conch.config import unbuilt
from teleport_conch.config.addresses import (
    EVERY_INTERFACE,
    Address,
    Network,
    parse_advertised,
    parse_network,
)
from teleport_conch.config.keys import Section, key, required_key
from teleport_conch.config.kinds import Many, One, Table
from teleport_conch.config.names import parse_label_key, parse_label_value, parse_name, parse_variable
from teleport_conch.config.scalars import (
    AUTH_PORT,
    NODE_PORT,
    PATH,
    PROXY_PORT,
    SERVICE_NAME,
    SWITCH,
    TUNNEL_PORT,
    WEB_PORT,
    WORDS,
    YES_NO,
    Period,
    addresses,
    choice,
    duration,
    listen,
    parse_auth_server,
    parse_output,
    parse_pin,
    parse_severity,
    program,
    whole,
)
from teleport_conch.config.secret import Secret, parse_token
from teleport_conch.config.startups import Startups, parse_startups
from teleport_conch.config.tokens import StaticToken, parse_static_token
from teleport_conch.config.tracing import TRACING_SECTION, TracingSettings
from teleport_conch.config.x11 import X11_SECTION, X11Settings

DATA_DIR = Path("/var/lib/teleport")
LOCALHOST = "127.0.0.1"


@frozen
class LogSettings:
    """Where the log goes, and what it holds.

    :ivar output: ``stderr``, ``stdout`` or the absolute path of a file.
    :ivar severity: ``error``, ``warn``, ``info`` or ``debug``.
    """

    output: str = key(One(parse_output), "stderr")
    severity: str = key(One(parse_severity), "info")


@frozen
class StorageSettings:
    """Where auth keeps the cluster's state.

    :ivar type: ``dir`` and ``sqlite`` mean the same.
    :ivar path: a folder; ``<data_dir>/backend`` unless the file names another.
    """

    type: str = key(
        choice("dir", "sqlite", "etcd", "dynamodb", "firestore"),
        "dir",
        only=("dir", "sqlite"),
        lacks="the state is kept in SQLite",
    )
    path: Path = key(PATH, DATA_DIR / "backend")


@frozen
class CacheSettings:
    """What a node or proxy knows when auth is away.

    :ivar ttl: for how long a copy is used while auth is away, in seconds.
    """

    enabled: bool = key(YES_NO, True)
    type: str = key(choice("sqlite", "in-memory"), "sqlite")
    ttl: float = key(duration(never=frozenset({"never", "no"})), 20 * 3600.0)


@frozen
class ConnectionLimits:
    """The bounds on connections to the SSH services; an address is an IPv4 address or an IPv6 network of 64 bits.

    :ivar max_connections: at one time, from one address; of auth, too.
    :ivar max_startups: not logged in, from all addresses together.
    :ivar per_source_max_startups: not logged in, from one address.
    :ivar per_source_penalties: whether an address from which logins keep failing is refused for a while.
    """

    max_connections: int = key(whole(1, 1_000_000), 15_000)
    max_startups: Startups = key(One(parse_startups), Startups(300, 30, 1000), ours=True)
    per_source_max_startups: int = key(whole(1, 1_000_000), 200, ours=True)
    per_source_penalties: bool = key(YES_NO, True, ours=True)
    max_users: int = key(whole(1, 1_000_000), 250, only=(250,), lacks="users at one time are not counted")


@frozen
class TeleportSettings:
    """Section ``teleport``: what all services of the process share.

    :ivar account: of the processes that speak with the network, where a service starts as root.
    :ivar workers: how many such processes a node or proxy has.
    :ivar auth_token: the token or the path of its file; ask :func:`~teleport_conch.config.secret.read_token`.
    :ivar advertise_ip: port 0 stands for the port that the service listens on.
    """

    nodename: str = key(One(parse_name), "localhost")
    data_dir: Path = key(PATH, DATA_DIR)
    pid_file: Path | None = key(PATH, None)
    account: str = key(WORDS, "teleport", ours=True)
    workers: int = key(whole(1, 8), 1, ours=True)
    auth_token: Secret | None = key(One(parse_token), None)
    ca_pin: str | None = key(One(parse_pin), None)
    auth_servers: tuple[Address, ...] = key(Many(One(parse_auth_server), at_least=1), (Address(LOCALHOST, AUTH_PORT),))
    advertise_ip: Address | None = key(One(parse_advertised), None)
    connection_limits: ConnectionLimits = key(Section(ConnectionLimits, unbuilt.CONNECTION_LIMITS), ConnectionLimits())
    log: LogSettings = key(Section(LogSettings), LogSettings())
    storage: StorageSettings = key(Section(StorageSettings, unbuilt.STORAGE), StorageSettings())
    cache: CacheSettings = key(Section(CacheSettings), CacheSettings())


_BY_PROXIES = "the nodes record, and no proxy sees what goes through it"
_PROXY_HEADERS = "PROXY headers of load balancers are not read"
_ON_OFF = choice("on", "off")


@frozen
class AuthenticationSettings:
    """Section ``auth_service.authentication``: how people log in."""

    type: str = key(
        choice("local", "github", "oidc", "saml"),
        "local",
        only=("local",),
        lacks=unbuilt.NO_CONNECTORS,
    )
    second_factor: str = key(choice("otp", "off", "u2f"), "otp", only=("otp", "off"), lacks=unbuilt.NO_DEVICES)


@frozen
class AuthSettings:
    """Section ``auth_service``.

    :ivar session_recording: ``node``, ``node-sync`` or ``off``.
    :ivar heartbeat_interval: between two beats of a node or proxy, in seconds.
    :ivar offline_nodes_kept: for how long a node that went offline stays listed, in seconds.
    """

    enabled: bool = key(YES_NO, True)
    listen_addr: Address = key(listen(AUTH_PORT), Address(EVERY_INTERFACE, AUTH_PORT))
    public_addr: tuple[Address, ...] = key(addresses(AUTH_PORT), ())
    proxy_protocol: str = key(_ON_OFF, "off", only=("off",), lacks=_PROXY_HEADERS)
    cluster_name: str = key(One(parse_name), "localhost")
    tokens: tuple[StaticToken, ...] = key(
        Many(One(parse_static_token), same=lambda token: token.value, twice="the same token is given twice"), ()
    )
    session_recording: str = key(
        choice("node", "proxy", "off", "node-sync", "proxy-sync"),
        "node",
        only=("node", "node-sync", "off"),
        lacks=_BY_PROXIES,
    )
    client_idle_timeout: float = key(duration(never=frozenset({"never"})), math.inf)
    disconnect_expired_cert: bool = key(YES_NO, False)
    session_control_timeout: float = key(duration(lowest=10.0, highest=3600.0), 120.0)
    keep_alive_interval: float = key(duration(lowest=1.0, highest=86_400.0), 300.0)
    keep_alive_count_max: int = key(whole(1, 1000), 3)
    heartbeat_interval: float = key(duration(lowest=1.0, highest=3600.0), 15.0, ours=True)
    offline_nodes_kept: float = key(duration(lowest=60.0), 7 * 86_400.0, ours=True)
    authentication: AuthenticationSettings = key(
        Section(AuthenticationSettings, unbuilt.AUTHENTICATION), AuthenticationSettings()
    )


@frozen
class CommandLabel:
    """A label whose value is the output of a command.

    :ivar command: program and arguments; no shell is between.
    :ivar period: seconds between two runs.
    :ivar timeout: seconds after which a run is ended, and its value says so.
    """

    name: str = required_key(One(parse_label_key))
    command: tuple[str, ...] = required_key(Many(WORDS, alone=False, at_least=1))
    period: float = key(Period(), 60.0)
    timeout: float = key(duration(lowest=0.1, highest=3600.0), 10.0, ours=True)


def _label_twice(node: NodeSettings) -> Iterable[str]:
    for command in node.commands:
        if command.name in node.labels:
            yield f"the label '{command.name}' stands in both labels and commands"


@frozen
class PamSettings:
    """Section ``ssh_service.pam``.

    :ivar enabled: None for wherever the host has a file for the service.
    :ivar service_name: of the file in ``/etc/pam.d``.
    """

    enabled: bool | None = key(SWITCH, None)
    service_name: str = key(SERVICE_NAME, "sshd")


@frozen
class NodeSettings:
    """Section ``ssh_service``.

    :ivar labels: by key.
    :ivar proxied_only: whether what did not come through a proxy of the cluster is refused.
    :ivar accept_env: variables that a client may set; a name may end in ``*``.
    :ivar gateway_ports: whether clients may listen on all interfaces of the host, and not on loopback alone.
    :ivar break_glass_after: seconds of auth's silence until certificates for emergencies count; infinity for never.
    :ivar sftp_program: serves SFTP: a program, ``own`` for ours, ``automatic`` for OpenSSH's where it is installed.
    """

    enabled: bool = key(YES_NO, True)
    listen_addr: Address = key(listen(NODE_PORT), Address(EVERY_INTERFACE, NODE_PORT))
    public_addr: tuple[Address, ...] = key(addresses(NODE_PORT), ())
    labels: Mapping[str, str] = key(Table(parse_label_key, One(parse_label_value)), {})
    commands: tuple[CommandLabel, ...] = key(
        Many(Section(CommandLabel), alone=False, same=lambda label: label.name, twice="the label is given twice"), ()
    )
    proxied_only: bool = key(YES_NO, False, ours=True)
    accept_env: tuple[str, ...] = key(
        Many(One(parse_variable)), ("LANG", "LC_*", "COLORTERM", "GIT_PROTOCOL"), ours=True
    )
    x11: X11Settings = key(X11_SECTION, X11Settings())
    gateway_ports: bool = key(YES_NO, False, ours=True)
    break_glass_after: float = key(duration(lowest=5.0, highest=86_400.0, never=frozenset({"never"})), 60.0, ours=True)
    pam: PamSettings = key(Section(PamSettings, unbuilt.PAM), PamSettings())
    enhanced_recording: TracingSettings = key(TRACING_SECTION, TracingSettings())
    sftp_program: str = key(program("automatic", "own"), "automatic", ours=True)


_NODE_SECTION: Section[NodeSettings] = Section(NodeSettings, unbuilt.SSH_SERVICE, checks=_label_twice)


@frozen
class ProxySettings:
    """Section ``proxy_service``.

    :ivar public_addr: where people reach the web address; the first is the canonical one.
    :ivar ssh_public_addr: where SSH clients reach the proxy.
    :ivar tunnel_public_addr: where reverse tunnels will reach it; clients are told, and nothing listens there.
    :ivar https_key_file: with ``https_cert_file``; None for a pair of the proxy's own.
    :ivar unregistered_hosts: networks and exact names that may be dialled though no node is registered there.
    """

    enabled: bool = key(YES_NO, True)
    listen_addr: Address = key(listen(PROXY_PORT), Address(EVERY_INTERFACE, PROXY_PORT))
    proxy_protocol: str = key(_ON_OFF, "off", only=("off",), lacks=_PROXY_HEADERS)
    web_listen_addr: Address = key(listen(WEB_PORT), Address(EVERY_INTERFACE, WEB_PORT))
    https_key_file: Path | None = key(PATH, None)
    https_cert_file: Path | None = key(PATH, None)
    public_addr: tuple[Address, ...] = key(addresses(WEB_PORT), ())
    ssh_public_addr: tuple[Address, ...] = key(addresses(PROXY_PORT), ())
    tunnel_public_addr: tuple[Address, ...] = key(addresses(TUNNEL_PORT), ())
    unregistered_hosts: tuple[Network | str, ...] = key(Many(One(parse_network)), (), ours=True)


def _pair(proxy: ProxySettings) -> Iterable[str]:
    if proxy.enabled and (proxy.https_key_file is None) != (proxy.https_cert_file is None):
        yield "https_key_file and https_cert_file belong together: give both, or neither"


_PROXY_SECTION: Section[ProxySettings] = Section(ProxySettings, unbuilt.PROXY_SERVICE, checks=_pair)


@frozen
class Settings:
    """A whole configuration.

    :ivar notices: sentences to say at every start.
    :ivar auth_keys: the keys of the section ``auth_service`` that are there.
    """

    teleport: TeleportSettings = key(Section(TeleportSettings, unbuilt.TELEPORT), TeleportSettings())
    auth: AuthSettings = key(Section(AuthSettings, unbuilt.AUTH_SERVICE), AuthSettings(), name="auth_service")
    proxy: ProxySettings = key(_PROXY_SECTION, ProxySettings(), name="proxy_service")
    node: NodeSettings = key(_NODE_SECTION, NodeSettings(), name="ssh_service")
    notices: tuple[str, ...] = field(default=())
    auth_keys: frozenset[str] = field(default=frozenset())

    def enabled(self) -> frozenset[str]:
        """The services that are on: some of ``auth``, ``proxy`` and ``node``."""
        on = {"auth": self.auth.enabled, "proxy": self.proxy.enabled, "node": self.node.enabled}
        return frozenset(name for name, enabled in on.items() if enabled)

    def listening_on(self, host: str) -> Settings:
        """These settings with every service on one IP address, and its port as before (``--listen-ip``)."""

        def moved(address: Address) -> Address:
            return Address(host, address.port)

        return evolve(
            self,
            auth=evolve(self.auth, listen_addr=moved(self.auth.listen_addr)),
            proxy=evolve(
                self.proxy,
                listen_addr=moved(self.proxy.listen_addr),
                web_listen_addr=moved(self.proxy.web_listen_addr),
            ),
            node=evolve(self.node, listen_addr=moved(self.node.listen_addr)),
        )


#: Every key that there is.
SCHEMA: Section[Settings] = Section(Settings)

#: The section of the file that a service is configured in.
SECTIONS: Mapping[str, str] = {"auth": "auth_service", "proxy": "proxy_service", "node": "ssh_service"}
