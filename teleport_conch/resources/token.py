"""Join tokens: a secret that lets hosts in, for some roles, until it expires."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from attrs import field, frozen

from teleport_conch.resources.fields import envelope

ROLES = ("Node", "Proxy", "Auth")


def token_digest(secret: str) -> str:
    """Hexadecimal SHA-256, of which auth makes what it keeps, and shows, in place of the secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


@frozen
class JoinToken:
    """A token without its secret.

    ``digest`` finds it and :attr:`id` names it. ``node_name``, ``principals`` and ``labels`` bind what a host that
    uses the token may be called and carry; empty means that the token does not bind them. ``expires_at`` is POSIX
    seconds, None for a static token. ``revision`` is the one that was read from storage, and that an update is checked
    against; empty for no check.
    """

    digest: str
    roles: tuple[str, ...]
    created_by: str
    created_at: float
    expires_at: float | None = None
    node_name: str = ""
    principals: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(factory=dict)
    revision: str = field(default="", eq=False, kw_only=True)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that name the token wherever the secret must not appear."""
        return self.digest[:12]

    @property
    def static(self) -> bool:
        return self.expires_at is None

    def to_json(self) -> dict[str, object]:
        revision = {"id": self.revision} if self.revision else {}
        return {
            "kind": "token",
            "version": "v2",
            "metadata": {"name": self.id, "expires": self.expires_at, **revision},
            "spec": {
                "digest": self.digest,
                "roles": list(self.roles),
                "created_by": self.created_by,
                "created": self.created_at,
                "node_name": self.node_name,
                "principals": list(self.principals),
                "labels": dict(self.labels),
            },
        }

    @classmethod
    def from_json(cls, value: object) -> JoinToken:
        _, metadata, spec = envelope(value, "token")
        return cls(
            digest=spec.text("digest", max_chars=64),
            roles=spec.texts("roles", max_items=8),
            created_by=spec.text("created_by", default=""),
            created_at=spec.number("created", default=0.0),
            expires_at=metadata.instant("expires"),
            node_name=spec.text("node_name", default="", max_chars=255),
            principals=spec.texts("principals"),
            labels=spec.text_map("labels", max_items=64),
            revision=metadata.text("id", default="", max_chars=18),
        )
