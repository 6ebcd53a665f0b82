"""What hosts and auth say to each other: the request to join, the answer, and the beats that follow."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from attrs import field, frozen

from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.server import Server

MAX_PRINCIPALS = 32
MAX_KEY_CHARS = 4096


def _packed(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _unpacked(fields: Fields, key: str) -> str:
    try:
        return base64.b64decode(fields.text(key, max_chars=MAX_KEY_CHARS), validate=True).decode()
    except ValueError:  # binascii.Error and UnicodeDecodeError are ValueErrors, and so is what other letters raise
        raise BadParameter(f"{fields.where}.{key} has to be base64 of a text.") from None


@frozen
class JoinRequest:
    """``POST /v1/tokens/register``, and without ``token`` the request to renew an identity.

    The keys are public ones: ``public_tls_key`` a PEM, ``public_ssh_key`` an authorized_keys line.
    """

    host_uuid: str
    node_name: str
    role: str
    public_tls_key: str
    public_ssh_key: str
    token: str = field(default="", repr=False)
    additional_principals: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "hostID": self.host_uuid,
            "node_name": self.node_name,
            "role": self.role,
            "token": self.token,
            "additional_principals": list(self.additional_principals),
            "dns_names": list(self.dns_names),
            "public_tls_key": _packed(self.public_tls_key),
            "public_ssh_key": _packed(self.public_ssh_key),
        }

    @classmethod
    def from_json(cls, value: object, with_token: bool = True) -> JoinRequest:
        fields = Fields(value, "request")
        return cls(
            host_uuid=fields.text("hostID", max_chars=64),
            node_name=fields.text("node_name", max_chars=255),
            role=fields.text("role", max_chars=32),
            token=fields.text("token", max_chars=512) if with_token else "",
            additional_principals=fields.texts("additional_principals", MAX_PRINCIPALS, max_chars=255),
            dns_names=fields.texts("dns_names", MAX_PRINCIPALS, max_chars=255),
            public_tls_key=_unpacked(fields, "public_tls_key"),
            public_ssh_key=_unpacked(fields, "public_ssh_key"),
        )


@frozen
class JoinAnswer:
    """A host's certificates and everything that it has to trust from now on.

    ``authorities`` are ``cert_authority`` resources without secrets; ``labels`` are those that the token binds.
    """

    node_name: str
    cluster_name: str
    ssh_certificate: str
    tls_certificate: str
    authorities: tuple[Mapping[str, object], ...]
    labels: Mapping[str, str] = field(factory=dict)

    def to_json(self) -> dict[str, object]:
        return {
            "node_name": self.node_name,
            "cluster_name": self.cluster_name,
            "cert": self.ssh_certificate,
            "tls_cert": self.tls_certificate,
            "authorities": [dict(authority) for authority in self.authorities],
            "labels": dict(self.labels),
        }

    @classmethod
    def from_json(cls, value: object) -> JoinAnswer:
        fields = Fields(value, "answer")
        return cls(
            node_name=fields.text("node_name", max_chars=255),
            cluster_name=fields.text("cluster_name", max_chars=255),
            ssh_certificate=fields.text("cert", max_chars=16384),
            tls_certificate=fields.text("tls_cert", max_chars=16384),
            authorities=tuple(authority.raw() for authority in fields.children("authorities", max_items=16)),
            labels=fields.text_map("labels"),
        )


@frozen
class Heartbeat:
    """One beat of a host: its whole record, and which process sends it.

    ``instance`` is random for each start of the process, so that two machines with one identity are noticed.
    """

    instance: str
    server: Server

    def to_json(self) -> dict[str, object]:
        return {"instance": self.instance, "server": self.server.announced().to_json()}

    @classmethod
    def from_json(cls, value: object) -> Heartbeat:
        fields = Fields(value, "heartbeat")
        return cls(fields.text("instance", max_chars=64), Server.from_json(fields.raw().get("server")).announced())


@frozen
class HeartbeatAnswer:
    """What auth has to say to a host that beats.

    ``labels`` are those that the host's token binds; ``unreachable`` is why proxies cannot dial the address that the
    host advertises, empty while they can; ``server_time`` is auth's clock in POSIX seconds.
    """

    server_time: float
    labels: Mapping[str, str] = field(factory=dict)
    unreachable: str = ""

    def to_json(self) -> dict[str, object]:
        return {"server_time": self.server_time, "labels": dict(self.labels), "unreachable": self.unreachable}

    @classmethod
    def from_json(cls, value: object) -> HeartbeatAnswer:
        fields = Fields(value, "answer")
        return cls(fields.number("server_time"), fields.text_map("labels"), fields.text("unreachable", default=""))
