"""Access requests: roles that somebody asks for, for a while, in the shape of Teleport's ``access_request`` v3."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from attrs import evolve, field, frozen

from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields, envelope

MAX_ROLES = 32
MAX_REASON_CHARS = 1024
MAX_ANNOTATIONS = 16
MAX_ANNOTATION_VALUES = 16
MAX_ANNOTATION_CHARS = 256
MAX_ID_CHARS = 64
MAX_IDS = 8
"""Requests of one certificate."""

Annotations = Mapping[str, tuple[str, ...]]


class RequestState(enum.IntEnum):
    """Teleport's numbers. Only one that is pending is ever approved or denied, and NONE is not stored yet."""

    NONE = 0
    PENDING = 1
    APPROVED = 2
    DENIED = 3


@frozen
class AccessRequest:
    """Who asks for which roles, and what became of it.

    :ivar name: its id, a UUID.
    :ivar roles: those that were asked for; once it is approved, those that are lent.
    :ivar created_at: POSIX seconds.
    :ivar expires_at: POSIX seconds from which on there is no such request, and its roles are not lent any more.
    :ivar system_annotations: what the roles of the person say to whoever decides.
    :ivar revision: the one that was read from storage.
    """

    name: str
    user: str
    roles: tuple[str, ...]
    created_at: float
    expires_at: float
    state: RequestState = RequestState.PENDING
    request_reason: str = ""
    resolve_reason: str = ""
    resolve_annotations: Annotations = field(factory=dict)
    system_annotations: Annotations = field(factory=dict)
    revision: str = field(default="", eq=False, kw_only=True)

    def in_force_at(self, now: float) -> bool:
        """Whether its roles are lent."""
        return self.state is RequestState.APPROVED and now < self.expires_at

    def narrow(self) -> AccessRequest:
        """What nodes and proxies have to know: whose roles, and until when."""
        nothing: Annotations = {}
        return evolve(
            self, request_reason="", resolve_reason="", resolve_annotations=nothing, system_annotations=nothing
        )

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "access_request",
            "version": "v3",
            "metadata": {"name": self.name, "expires": self.expires_at, "id": self.revision},
            "spec": {
                "user": self.user,
                "roles": list(self.roles),
                "state": int(self.state),
                "created": self.created_at,
                "expires": self.expires_at,
                "request_reason": self.request_reason,
                "resolve_reason": self.resolve_reason,
                "resolve_annotations": _written(self.resolve_annotations),
                "system_annotations": _written(self.system_annotations),
            },
        }

    @classmethod
    def from_json(cls, value: object) -> AccessRequest:
        """:raises BadParameter: it is no such resource."""
        _, metadata, spec = envelope(value, "access_request")
        return cls(
            name=metadata.text("name", max_chars=MAX_ID_CHARS),
            user=spec.text("user", max_chars=255),
            roles=spec.texts("roles", MAX_ROLES, max_chars=255),
            created_at=spec.number("created"),
            expires_at=spec.number("expires"),
            state=_state(spec),
            request_reason=spec.text("request_reason", default="", max_chars=MAX_REASON_CHARS),
            resolve_reason=spec.text("resolve_reason", default="", max_chars=MAX_REASON_CHARS),
            resolve_annotations=read_annotations(spec, "resolve_annotations"),
            system_annotations=read_annotations(spec, "system_annotations"),
            revision=metadata.text("id", default=""),
        )


def _state(spec: Fields) -> RequestState:
    number = spec.number("state", default=float(RequestState.PENDING))
    try:
        return RequestState(int(number))
    except ValueError:
        raise BadParameter(f"{spec.where}.state is from 0 to {max(RequestState):d}, and not {number:g}.") from None


def _written(annotations: Annotations) -> dict[str, list[str]]:
    return {name: list(values) for name, values in sorted(annotations.items())}


def read_annotations(fields: Fields, key: str) -> dict[str, tuple[str, ...]]:
    """Lists of texts by name.

    :raises BadParameter: they are not, or there are too many, or they are too long.
    """
    found = fields.child(key)
    names = found.raw()
    if len(names) > MAX_ANNOTATIONS or any(not 0 < len(name) <= MAX_ANNOTATION_CHARS for name in names):
        raise BadParameter(
            f"{found.where} has at most {MAX_ANNOTATIONS} entries, each with a name of at most {MAX_ANNOTATION_CHARS}"
            " characters."
        )
    return {name: found.texts(name, MAX_ANNOTATION_VALUES, MAX_ANNOTATION_CHARS) for name in names}
