"""What the API answers, where no resource has its shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from attrs import field, frozen

from teleport_conch.certs.public import PublicAuthority
from teleport_conch.errors import BadParameter, TooLarge
from teleport_conch.resources.fields import Fields

#: Items of one list in an answer.
MAX_LISTED = 50_000
_MAX_CERTIFICATE_CHARS = 16384

_Item = TypeVar("_Item")


def items(value: object, read: Callable[[object], _Item]) -> tuple[_Item, ...]:
    """The list in ``{"items": [...]}``, each item read by *read*.

    :raises TooLarge: it has more than :data:`MAX_LISTED` items.
    """
    found = Fields(value, "answer").raw().get("items")
    if not isinstance(found, list):
        raise BadParameter("answer.items has to be a list.")
    if len(found) > MAX_LISTED:
        raise TooLarge(f"The auth server answered a list of more than {MAX_LISTED} items.")
    return tuple(read(item) for item in found)


def as_text(value: object) -> str:
    if not isinstance(value, str):
        raise BadParameter("answer.items has to hold strings only.")
    return value


def as_object(value: object) -> Mapping[str, object]:
    return Fields(value, "answer.items").raw()


@frozen
class Ping:
    """``server_time`` is auth's clock in POSIX seconds; the versions are dotted numbers."""

    server_time: float
    cluster_name: str
    server_version: str
    min_client_version: str

    @classmethod
    def from_json(cls, value: object) -> Ping:
        fields = Fields(value, "answer")
        return cls(
            fields.number("server_time"),
            fields.text("cluster_name", max_chars=255),
            fields.text("server_version", default="", max_chars=64),
            fields.text("min_client_version", default="", max_chars=64),
        )


@frozen
class Status:
    """What ``tctl status`` shows. The authorities' keys are SHA-256 fingerprints, as ``ssh-keygen -l`` prints them.

    :ivar recordings_refused: why auth takes no recordings at the moment; empty where it does.
    """

    cluster_name: str
    version: str
    ca_pins: tuple[str, ...]
    session_recording: str
    user_ca: tuple[str, ...]
    host_ca: tuple[str, ...]
    recordings_refused: str = ""

    @classmethod
    def from_json(cls, value: object) -> Status:
        fields = Fields(value, "status")
        return cls(
            fields.text("cluster_name", max_chars=255),
            fields.text("version", default="", max_chars=64),
            fields.texts("ca_pins"),
            fields.text("session_recording", default="off", max_chars=32),
            fields.texts("user_ca"),
            fields.texts("host_ca"),
            fields.text("recordings_refused", default=""),
        )


@frozen
class UserCertificates:
    """A person's certificates: an SSH line, a TLS PEM (empty where no TLS key was sent), and whom to trust."""

    ssh_certificate: str
    tls_certificate: str = ""
    authorities: tuple[PublicAuthority, ...] = field(default=(), repr=False)

    @classmethod
    def from_json(cls, value: object) -> UserCertificates:
        fields = Fields(value, "answer")
        return cls(
            fields.text("cert", max_chars=_MAX_CERTIFICATE_CHARS),
            fields.text("tls_cert", default="", max_chars=_MAX_CERTIFICATE_CHARS),
            tuple(PublicAuthority.from_json(child.raw()) for child in fields.children("authorities", max_items=16)),
        )
