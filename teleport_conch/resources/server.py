"""Nodes and proxies as the cluster knows them: what they announce, how they came in, and whether they are there."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

from attrs import evolve, field, frozen

from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields

KINDS = ("node", "proxy", "auth_server")
MAX_LABELS = 64
MAX_COMMAND_WORDS = 32
_PERIOD = re.compile(r"([0-9]+(?:\.[0-9]+)?)s?")


class State(enum.Enum):
    """What auth can honestly say of a host's presence."""

    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


PREFERENCE = (State.ONLINE, State.LATE, State.UNKNOWN, State.OFFLINE)
"""Which of several hosts with one name is meant: the one that is most certainly there."""


@frozen
class Presence:
    """``last_seen_at`` is POSIX seconds of the last beat, None where auth never saw one."""

    state: State
    last_seen_at: float | None = None
    unreachable: str = ""
    """Why a proxy could not dial the advertised address, empty while it can."""

    def to_json(self) -> dict[str, object]:
        return {"state": self.state.value, "last_seen": self.last_seen_at, "unreachable": self.unreachable}

    @classmethod
    def from_json(cls, value: object) -> Presence:
        fields = Fields(value, "status")
        try:
            state = State(fields.text("state", default="unknown"))
        except ValueError:
            state = State.UNKNOWN
        return cls(state, fields.instant("last_seen"), fields.text("unreachable", default=""))


@frozen
class JoinRecord:
    """How a host came to be trusted: which token (its id, never the secret), who made it, from where it was used."""

    token_id: str
    token_by: str
    address: str
    joined_at: float

    def to_json(self) -> dict[str, object]:
        return {"token": self.token_id, "token_by": self.token_by, "address": self.address, "joined": self.joined_at}

    @classmethod
    def from_json(cls, value: object) -> JoinRecord:
        fields = Fields(value, "join")
        return cls(
            fields.text("token", default=""),
            fields.text("token_by", default=""),
            fields.text("address", default=""),
            fields.number("joined", default=0.0),
        )


@frozen
class CommandLabel:
    """A label whose value is what a command printed last; ``period_s`` is how often it runs."""

    command: tuple[str, ...]
    period_s: float
    result: str = ""

    def to_json(self) -> dict[str, object]:
        return {"command": list(self.command), "period": f"{self.period_s:.12g}s", "result": self.result}

    @classmethod
    def from_json(cls, fields: Fields) -> CommandLabel:
        period = _PERIOD.fullmatch(fields.text("period", default="0s", max_chars=32))
        if period is None:
            raise BadParameter(f"{fields.where}.period has to be a number of seconds such as 60s.")
        return cls(fields.texts("command", MAX_COMMAND_WORDS), float(period[1]), fields.text("result", default=""))


@frozen
class Server:
    """A node, a proxy or an auth server.

    ``name`` is the host UUID and ``hostname`` the nodename; ``addr`` is where the host says it can be dialled,
    ``public_addrs`` other names for it. A proxy says in ``web_addr`` where its HTTPS port is, and in
    ``web_public_addrs`` what people call it. ``join`` and ``presence`` are auth's to fill, never the host's own.
    """

    kind: str
    name: str
    hostname: str
    addr: str = ""
    public_addrs: tuple[str, ...] = ()
    web_addr: str = field(default="", kw_only=True)
    web_public_addrs: tuple[str, ...] = field(default=(), kw_only=True)
    labels: Mapping[str, str] = field(factory=dict)
    cmd_labels: Mapping[str, CommandLabel] = field(factory=dict)
    version: str = ""
    join: JoinRecord | None = None
    presence: Presence = Presence(State.UNKNOWN)

    @property
    def all_labels(self) -> dict[str, str]:
        """Static labels and the results of commands; a static label wins over a command of the same name."""
        return {**{name: label.result for name, label in self.cmd_labels.items()}, **self.labels}

    def announced(self) -> Server:
        """What the host itself said: without the join record and the presence."""
        return evolve(self, join=None, presence=Presence(State.UNKNOWN))

    def to_json(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "version": "v2",
            "metadata": {"name": self.name, "namespace": "default", "labels": dict(self.labels)},
            "spec": {
                "addr": self.addr,
                "public_addrs": list(self.public_addrs),
                "hostname": self.hostname,
                "cmd_labels": {name: label.to_json() for name, label in self.cmd_labels.items()},
                "use_tunnel": False,
                "version": self.version,
                **({"web_addr": self.web_addr} if self.web_addr else {}),
                **({"web_public_addrs": list(self.web_public_addrs)} if self.web_public_addrs else {}),
            },
            **({"join": self.join.to_json()} if self.join else {}),
            "status": self.presence.to_json(),
        }

    @classmethod
    def from_json(cls, value: object) -> Server:
        fields = Fields(value, "server")
        kind = fields.text("kind")
        if kind not in KINDS:
            raise BadParameter(f"server.kind has to be one of {', '.join(KINDS)}.")
        metadata, spec = fields.child("metadata"), fields.child("spec")
        raw = fields.raw()
        return cls(
            kind=kind,
            name=metadata.text("name", max_chars=64),
            hostname=spec.text("hostname", max_chars=255),
            addr=spec.text("addr", default="", max_chars=300),
            public_addrs=spec.texts("public_addrs", max_items=32, max_chars=300),
            web_addr=spec.text("web_addr", default="", max_chars=300),
            web_public_addrs=spec.texts("web_public_addrs", max_items=32, max_chars=300),
            labels=metadata.text_map("labels", max_items=MAX_LABELS),
            cmd_labels={
                name: CommandLabel.from_json(label)
                for name, label in spec.named_children("cmd_labels", max_items=MAX_LABELS).items()
            },
            version=spec.text("version", default="", max_chars=64),
            join=JoinRecord.from_json(raw["join"]) if raw.get("join") else None,
            presence=Presence.from_json(raw.get("status") or {}),
        )
