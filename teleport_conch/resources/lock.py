"""Locks: who may not come in, where, and as what, whatever the roles say."""

from __future__ import annotations

from attrs import field, frozen

from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields, envelope

TARGETS = ("user", "login", "node", "role")
MAX_NAME_CHARS = 255
MAX_MESSAGE_CHARS = 512


@frozen
class Lock:
    """Shuts out what it speaks of: everything that is set has to match, and something has to be set.

    :param node: the host UUID of a node, or its name.
    :param role: whoever has this role, beside whatever other roles.
    :param message: what the person is told who is shut out.
    :param expires_at: POSIX seconds from which on the lock is open, None for never.
    :param revision: the one that was read from storage, and that an update is checked against; empty for no check.
    :raises BadParameter: nothing is set, or a text is too long.
    """

    name: str
    user: str = ""
    login: str = ""
    node: str = ""
    role: str = ""
    message: str = ""
    expires_at: float | None = None
    created_at: float = 0.0
    created_by: str = ""
    revision: str = field(default="", eq=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not self.targets():
            raise BadParameter(f"a lock names one of {', '.join(TARGETS)}, or several of them that all have to match.")
        if any(len(getattr(self, each)) > MAX_NAME_CHARS for each in ("name", *TARGETS)):
            raise BadParameter(f"a name in a lock is longer than {MAX_NAME_CHARS} characters.")
        if len(self.message) > MAX_MESSAGE_CHARS:
            raise BadParameter(f"the message of a lock is longer than {MAX_MESSAGE_CHARS} characters.")

    def in_force_at(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at

    def targets(self) -> dict[str, str]:
        """What is set."""
        return {target: getattr(self, target) for target in TARGETS if getattr(self, target)}

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "lock",
            "version": "v2",
            "metadata": {"name": self.name, "expires": self.expires_at, "id": self.revision},
            "spec": {
                "target": self.targets(),
                "message": self.message,
                "created": self.created_at,
                "created_by": self.created_by,
            },
        }

    @classmethod
    def from_json(cls, value: object) -> Lock:
        """:raises BadParameter: a field that is wrong or not known, since a misspelt target would shut out others."""
        resource, metadata, spec = envelope(value, "lock")
        if resource.text("version", default="v2") != "v2":
            raise BadParameter("lock.version has to be v2.")
        target = spec.child("target")
        _check_keys(spec, ("target", "message", "created", "created_by"))
        _check_keys(target, TARGETS)
        return cls(
            name=metadata.text("name", max_chars=MAX_NAME_CHARS),
            **{each: target.text(each, default="", max_chars=MAX_NAME_CHARS) for each in TARGETS},
            message=spec.text("message", default="", max_chars=MAX_MESSAGE_CHARS),
            expires_at=metadata.instant("expires"),
            created_at=spec.number("created", default=0.0),
            created_by=spec.text("created_by", default=""),
            revision=metadata.text("id", default=""),
        )


def _check_keys(fields: Fields, known: tuple[str, ...]) -> None:
    for key in fields.raw():
        if key not in known:
            raise BadParameter(f"{fields.where}.{key[:64]!a} is not known.")
