"""Every event there is: its name, its codes and its fields, in one table.

Names, codes and fields are Teleport's where it has the event; codes that begin with ``TJ`` are ours.
``docs/events.rst`` has the same table for people, and a test compares the two.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import cached_property
from typing import Literal

from attrs import frozen


class Shape(enum.Enum):
    """What a field holds. Durations and counts are numbers, instants text like ``2020-10-01T12:00:00.123Z``."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "true or false"
    TEXTS = "list of texts"
    LINES = "list of lines"
    TEXT_MAP = "map of texts"
    INSTANT = "instant"


FIELDS: Mapping[str, Shape] = {
    "action": Shape.TEXT,
    "addr": Shape.TEXT,
    "addr.local": Shape.TEXT,
    "addr.remote": Shape.TEXT,
    "annotations": Shape.TEXT_MAP,
    "argv": Shape.TEXTS,
    "attributes": Shape.TEXT_MAP,
    "bytes": Shape.NUMBER,
    "cert_type": Shape.TEXT,
    "cgroup_id": Shape.NUMBER,
    "cluster_name": Shape.TEXT,
    "command": Shape.TEXT,
    "count": Shape.NUMBER,
    "delegator": Shape.TEXT,
    "dst_addr": Shape.TEXT,
    "dst_port": Shape.NUMBER,
    "ei": Shape.NUMBER,
    "enhanced_recording": Shape.FLAG,
    "error": Shape.TEXT,
    "error_code": Shape.TEXT,
    "exitCode": Shape.TEXT,
    "exitError": Shape.TEXT,
    "expires": Shape.INSTANT,
    "flags": Shape.TEXT,
    "id": Shape.TEXT,
    "interactive": Shape.FLAG,
    "kind": Shape.TEXT,
    "last_seen": Shape.INSTANT,
    "login": Shape.TEXT,
    "logins": Shape.TEXTS,
    "max": Shape.NUMBER,
    "message": Shape.TEXT,
    "method": Shape.TEXT,
    "name": Shape.TEXT,
    "namespace": Shape.TEXT,
    "node_id": Shape.TEXT,
    "node_name": Shape.TEXT,
    "participants": Shape.TEXTS,
    "path": Shape.TEXT,
    "pid": Shape.NUMBER,
    "ppid": Shape.NUMBER,
    "principals": Shape.TEXTS,
    "program": Shape.TEXT,
    "proto": Shape.TEXT,
    "reason": Shape.TEXT,
    "reference": Shape.TEXT,
    "requests": Shape.TEXTS,
    "return_code": Shape.NUMBER,
    "role": Shape.TEXT,
    "roles": Shape.TEXTS,
    "rx": Shape.NUMBER,
    "serial": Shape.TEXT,
    "server_addr": Shape.TEXT,
    "server_hostname": Shape.TEXT,
    "server_id": Shape.TEXT,
    "server_labels": Shape.TEXT_MAP,
    "session_start": Shape.INSTANT,
    "session_stop": Shape.INSTANT,
    "sha256": Shape.TEXT,
    "sid": Shape.TEXT,
    "size": Shape.TEXT,
    "src_addr": Shape.TEXT,
    "state": Shape.TEXT,
    "target": Shape.TEXT,
    "token": Shape.TEXT,
    "trace": Shape.LINES,
    "ttl": Shape.NUMBER,
    "tx": Shape.NUMBER,
    "updated_by": Shape.TEXT,
    "url": Shape.TEXT,
    "user": Shape.TEXT,
    "verb": Shape.TEXT,
    "version": Shape.NUMBER,
}
"""The shape of each field; a name means the same in every event. A ``token`` is a token's id, never its secret."""

COMMON = frozenset(
    {
        "addr.local",
        "addr.remote",
        "cluster_name",
        "ei",
        "error",
        "error_code",
        "login",
        "message",
        "namespace",
        "proto",
        "reference",
        "server_addr",
        "server_hostname",
        "server_id",
        "server_labels",
        "sid",
        "user",
    }
)
"""Fields that any event may carry. ``event``, ``code``, ``time``, ``uid`` and ``ei`` are in every one."""

_SEVERITIES: Mapping[str, Literal["info", "warning", "error"]] = {"I": "info", "W": "warning", "E": "error"}


@frozen
class EventType:
    """One line of the catalogue.

    :param code_ok: the code of the event, or of its success where it can fail.
    :param code_failed: the code of its failure; empty where it cannot fail. Events that can carry ``success``.
    :param required: fields that have to be there; an empty text counts as being there.
    :param optional: fields that may be, beside those of :data:`COMMON`.
    """

    name: str
    code_ok: str
    code_failed: str
    required: frozenset[str]
    optional: frozenset[str]

    @cached_property
    def fields(self) -> frozenset[str]:
        return self.required | self.optional | COMMON

    @property
    def codes(self) -> tuple[str, ...]:
        return (self.code_ok, self.code_failed) if self.code_failed else (self.code_ok,)

    def code(self, success: bool) -> str:
        """:raises ValueError: the failure of an event that cannot fail."""
        if not success and not self.code_failed:
            raise ValueError(f"the event {self.name} cannot fail")
        return self.code_ok if success else self.code_failed


def severity(code: str) -> Literal["info", "warning", "error"]:
    """The last letter of a code."""
    return _SEVERITIES[code[-1:]]


def _event(name: str, codes: str, required: str = "", optional: str = "") -> EventType:
    ok, _, failed = codes.partition("/")
    return EventType(name, ok, failed, frozenset(required.split()), frozenset(optional.split()))


_TYPES = (
    # People logging in.
    _event("user.login", "T1000I/T1000W", "user method", "attributes"),
    _event("user.create", "T1002I", "name roles user", "logins expires"),
    _event("user.update", "T1003I", "name roles user", "logins expires"),
    _event("user.delete", "T1004I", "name user"),
    _event("user.password_change", "T1005I", "user", "method"),
    _event("user.lockout", "TJ071W", "name count expires"),
    _event("user.unlock", "TJ072I", "name user"),
    _event("reset_password_token.create", "T6000I", "name kind ttl expires user"),
    _event("invite.use", "TJ070I/TJ070W", "action", "name kind"),
    _event("bot.create", "TJ080I", "name roles user", "logins expires"),
    _event("bot.delete", "TJ081I", "name user"),
    _event("bot.join", "TJ082I/TJ082W", "name"),
    _event("bot.copied", "TJ083W", "name reason", "count max addr"),
    _event("auth", "T3007I/T3007W", "user", "roles method serial trace"),
    _event("session.rejected", "T1006W", "user reason max"),
    # Sessions on a node.
    _event("session.start", "T2000I/T2000W", "user login sid", "size interactive command name trace"),
    _event("session.join", "T2001I", "user login sid", "size"),
    _event("resize", "T2002I", "sid size"),
    _event("session.leave", "T2003I", "user sid"),
    _event(
        "session.end",
        "T2004I",
        "user login sid interactive session_start session_stop",
        "participants enhanced_recording exitCode",
    ),
    _event("session.upload", "T2005I", "sid user url sha256 bytes", "node_id node_name reason"),
    _event("session.recording.refused", "TJ035W", "sid node_id error"),
    _event("session.recording.incomplete", "TJ036W", "sid user reason", "node_id node_name"),
    _event("session.recording.access", "TJ037I", "sid user name", "node_id node_name"),
    _event("session.recording.delete", "TJ038I", "sid user name", "node_id node_name sha256 bytes"),
    _event("session.command", "T4000I", "user login sid pid ppid cgroup_id program path argv return_code", "reason"),
    _event("session.disk", "T4001I", "user login sid pid cgroup_id program path flags return_code"),
    _event("session.network", "T4002I", "user login sid pid cgroup_id program src_addr dst_addr dst_port version"),
    _event("session.unseen", "TJ047W", "user login sid kind count reason"),
    _event("session.data", "T2006I", "user sid tx rx"),
    _event("subsystem", "T3001I/T3001E", "user login name", "exitError"),
    _event("exec", "T3002I/T3002E", "user login command", "exitCode exitError"),
    _event("port", "T3003I/T3003E", "user login addr", "trace"),
    _event("x11-forward", "T3008I/T3008W", "user login", "trace"),
    _event("agent-forward", "TJ031I/TJ031W", "user login", "trace"),
    _event("sftp", "TJ032I/TJ032W", "user login action path", "target flags rx tx attributes"),
    _event("sftp.more", "TJ033I", "user login count", "rx tx"),
    _event("sftp.unseen", "TJ034W", "user login reason"),
    _event("session.recording.failed", "TJ045W", "user login sid reason"),
    _event("session.recording.put_aside", "TJ046W", "sid reason"),
    _event("client.disconnect", "T3006I", "user reason"),
    # Hosts.
    _event("node.join", "TJ000I/TJ000W", "node_id node_name role", "token principals"),
    _event("node.state", "TJ001I", "node_id node_name state", "last_seen reason"),
    _event("node.duplicate", "TJ002W", "node_id node_name addr.remote", "addr"),
    _event("node.remove", "TJ003I", "node_id node_name user", "reason"),
    _event("node.unreachable", "TJ004W", "node_id node_name addr error"),
    # What lets others in.
    _event("token.create", "TJ010I", "token roles user", "expires node_name principals"),
    _event("token.update", "TJ012I", "token roles user", "expires node_name principals"),
    _event("token.delete", "TJ011I", "token user"),
    _event("cert.create", "TJ020I/TJ020W", "cert_type name", "serial logins principals roles expires method requests"),
    # Who may do what.
    _event("role.created", "T9000I", "name user"),
    _event("role.updated", "TJ060I", "name user"),
    _event("role.deleted", "T9001I", "name user"),
    _event("config.updated", "TJ064I", "name user"),
    _event("lock.created", "TJ061I", "name user target", "expires reason"),
    _event("lock.updated", "TJ062I", "name user target", "expires reason"),
    _event("lock.deleted", "TJ063I", "name user target", "expires reason"),
    _event("access_request.create", "T5000I", "id user roles state updated_by", "expires reason annotations"),
    _event(
        "access_request.update",
        "T5001I",
        "id user roles state updated_by",
        "expires delegator reason annotations",
    ),
    _event("access_request.delete", "T5003I", "id user roles state updated_by"),
    # The ways through.
    _event("proxy.connect", "TJ030I/TJ030W", "user target", "node_id node_name addr tx rx trace"),
    _event("api.denied", "TJ040W", "verb kind error", "name node_id roles trace"),
    _event("web.refused", "TJ041W", "action error"),
    # The cluster's own.
    _event("backup.create", "TJ050I", "user"),
    _event("audit.lost", "TJ090W", "count reason"),
)

EVENTS: Mapping[str, EventType] = {each.name: each for each in _TYPES}

OF_HOSTS = frozenset(
    (
        *("auth", "session.rejected", "session.start", "session.join", "resize", "session.leave", "session.end"),
        *("session.command", "session.disk", "session.network", "session.unseen"),
        *("session.data", "subsystem", "exec", "port", "x11-forward", "agent-forward", "sftp", "sftp.more"),
        *("session.recording.failed", "session.recording.put_aside"),
        *("sftp.unseen", "client.disconnect", "proxy.connect", "web.refused", "audit.lost"),
    )
)
"""What happens on nodes and proxies. Of everything else auth alone knows, and no host is believed that tells it."""
