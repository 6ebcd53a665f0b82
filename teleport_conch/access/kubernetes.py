"""The keys of a role that are about Kubernetes: kept as they are for whoever reads them, and without effect here.

No service of a cluster speaks with Kubernetes, so nothing is allowed or denied by them. They are checked all the same,
and nobody may add what they do not have: a role may outlive that state of affairs.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from teleport_conch.access.templates import is_template, parse_template
from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields

MAX_NAMES = 256
MAX_NAME_CHARS = 256
KEYS = ("kubernetes_groups", "kubernetes_users")


@frozen
class Kubernetes:
    """One side's: groups and users of Kubernetes, names or templates."""

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each name, behind the key that it stands under."""
        for key, names in zip(KEYS, (self.groups, self.users), strict=True):
            yield from ((key, name) for name in names)

    def to_json(self) -> dict[str, object]:
        """Only what there is."""
        found = dict(zip(KEYS, (self.groups, self.users), strict=True))
        return {key: list(names) for key, names in found.items() if names}


NO_KUBERNETES = Kubernetes()


def kubernetes_of(fields: Fields) -> Kubernetes:
    """What a side of a role has of the keys. Raises :class:`BadParameter` for what is no name and no template."""
    return Kubernetes(*(_names(fields, key) for key in KEYS))


def _names(fields: Fields, key: str) -> tuple[str, ...]:
    if fields.raw().get(key) in (None, {}):
        return ()
    names = fields.texts(key, MAX_NAMES, MAX_NAME_CHARS)
    for at, name in enumerate(names):
        where = f"{fields.where}.{key}[{at}]"
        if is_template(name):
            parse_template(name, where)
        elif not name or not name.isprintable():
            raise BadParameter(f"{where}: {name!a} cannot be a name.")
    return names
