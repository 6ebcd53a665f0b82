"""From the settings of the configuration file to what the cluster is founded on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from twisted.logger import Logger

from teleport_conch.auth.hosts.principals import is_loopback
from teleport_conch.auth.hosts.tokens import static_token
from teleport_conch.auth.opening import Founding
from teleport_conch.config.addresses import as_ip
from teleport_conch.config.paths import DATABASE
from teleport_conch.config.secret import SHORT_TOKEN, read_token
from teleport_conch.config.settings import AuthSettings, Settings
from teleport_conch.config.tokens import StaticToken
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.preference import AuthPreference

EVENTS = "log"
RECORDINGS = "log/records"
SPOOL = "log/spool/auth"
"""Below ``data_dir``: auth's own events on their way to the log."""

_log = Logger()


def database_of(settings: Settings) -> Path:
    """Where the state of the cluster lies."""
    return settings.teleport.storage.path / DATABASE


def events_of(settings: Settings, host_uuid: str) -> Path:
    """Where the events of the cluster lie, one file for each day."""
    return settings.teleport.data_dir / EVENTS / host_uuid


def founding_of(settings: Settings, now: float) -> Founding:
    """What the file says.

    :param now: POSIX seconds.
    :raises ConfigError: a token's file cannot be read. :raises UnsafePath: others can read it.
    """
    auth = settings.auth
    tokens = tuple(static_token(token.roles, _secret(token), token.created_by, now) for token in auth.tokens)
    return Founding(
        cluster_name=auth.cluster_name,
        general=_general(auth),
        preference=AuthPreference(auth.authentication.type, auth.authentication.second_factor),
        given=settings.auth_keys,
        static_tokens=tokens,
        allow_loopback=is_loopback(auth.listen_addr.host),
        own_names=frozenset(_own_names(settings)),
    )


def _secret(token: StaticToken) -> str:
    """Of a static token; a short one is warned of, as one in the configuration itself is when that is read."""
    secret, path = read_token(token.value).reveal(), token.value.path()
    if path is not None and len(secret) < SHORT_TOKEN:
        _log.warn(
            "The token in {path} has fewer than {chars} characters, never expires, and can be guessed.",
            path=str(path),
            chars=SHORT_TOKEN,
        )
    return secret


def _own_names(settings: Settings) -> Iterator[str]:
    """What auth is called, and the addresses under which it is reached, as far as the file has them."""
    teleport, auth = settings.teleport, settings.auth
    advertised = [teleport.advertise_ip] if teleport.advertise_ip else []
    yield teleport.nodename.lower()
    for address in (*auth.public_addr, *advertised, auth.listen_addr):
        host = as_ip(address.host)
        if host is None or not host.is_unspecified:
            yield address.host.lower() if host is None else str(host)


def _general(auth: AuthSettings) -> ClusterConfig:
    return ClusterConfig(
        session_recording=auth.session_recording,
        heartbeat_interval_s=auth.heartbeat_interval,
        offline_nodes_kept_s=auth.offline_nodes_kept,
        keep_alive_interval_s=auth.keep_alive_interval,
        keep_alive_count_max=auth.keep_alive_count_max,
        client_idle_timeout_s=0.0 if math.isinf(auth.client_idle_timeout) else auth.client_idle_timeout,
        disconnect_expired_cert=auth.disconnect_expired_cert,
        session_control_timeout_s=auth.session_control_timeout,
    )
