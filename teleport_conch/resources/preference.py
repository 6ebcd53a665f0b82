"""How people log in: the resource ``cluster_auth_preference``."""

from __future__ import annotations

from attrs import frozen

from teleport_conch.errors import BadParameter, NotBuilt
from teleport_conch.resources.fields import envelope

TYPES = ("local",)
SECOND_FACTORS = ("otp", "off")


@frozen
class AuthPreference:
    """In the shape of Teleport's ``cluster_auth_preference`` v2.

    :ivar type: ``local``, by a password that auth keeps.
    :ivar second_factor: ``otp`` for codes of an authenticator, or ``off``.
    :raises NotBuilt: another type, or another second factor.
    """

    type: str = "local"
    second_factor: str = "otp"

    def __attrs_post_init__(self) -> None:
        if self.type not in TYPES:
            raise NotBuilt(f"cluster_auth_preference.spec.type {self.type[:64]!a} is not built; there is local.")
        if self.second_factor not in SECOND_FACTORS:
            shown = f"cluster_auth_preference.spec.second_factor {self.second_factor[:64]!a}"
            raise NotBuilt(f"{shown} is not built; there are {' and '.join(SECOND_FACTORS)}.")

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "cluster_auth_preference",
            "version": "v2",
            "metadata": {"name": "cluster-auth-preference", "namespace": "default"},
            "spec": {"type": self.type, "second_factor": self.second_factor},
        }

    @classmethod
    def from_json(cls, value: object) -> AuthPreference:
        """:raises BadParameter: a key that is not known, or a value of another type."""
        _, _, spec = envelope(value, "cluster_auth_preference")
        for key in spec.raw():
            if key not in ("type", "second_factor"):
                raise BadParameter(f"{spec.where}.{key[:64]!a} is not known.")
        usual = cls()
        return cls(
            spec.text("type", default=usual.type) or usual.type,
            spec.text("second_factor", default=usual.second_factor) or usual.second_factor,
        )
