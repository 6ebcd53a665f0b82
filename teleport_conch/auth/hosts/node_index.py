"""The nodes by label, so that who asks for one label does not pay for all the nodes that do not have it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set

from attrs import define, field

from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.resources.server import Server

_NONE: frozenset[HostKey] = frozenset()


@define(eq=False)
class NodeIndex:
    """Of all listed nodes.

    :ivar generation: grows with each change of what is listed.
    """

    generation: int = field(init=False, default=0)
    _by_label: dict[tuple[str, str], set[HostKey]] = field(init=False, factory=dict)
    _texts: dict[HostKey, str] = field(init=False, factory=dict)
    _labels: dict[HostKey, Mapping[str, str]] = field(init=False, factory=dict)

    def put(self, key: HostKey, record: Server) -> None:
        """A node is listed, as new or with another record."""
        if key.kind != "node":
            return
        self.drop(key)
        labels = self._labels[key] = dict(record.all_labels)
        for label in labels.items():
            self._by_label.setdefault(label, set()).add(key)
        words = (record.hostname, record.name, record.addr, *(f"{name}={value}" for name, value in labels.items()))
        self._texts[key] = "\n".join(words).lower()

    def drop(self, key: HostKey) -> None:
        """A node is not listed any more."""
        if key.kind != "node":
            return
        self.generation += 1
        self._texts.pop(key, None)
        for label in self._labels.pop(key, {}).items():
            nodes = self._by_label[label]
            nodes.discard(key)
            if not nodes:
                del self._by_label[label]

    def find(self, labels: Mapping[str, str], search: Collection[str]) -> Set[HostKey]:
        """The nodes that have all of the labels, and each of the texts in a name, an address or a label."""
        found: Set[HostKey] = self._with(labels) if labels else self._labels.keys()
        for text in search:
            wanted = text.lower()
            found = {key for key in found if wanted in self._texts[key]}
        return found

    def _with(self, labels: Mapping[str, str]) -> Set[HostKey]:
        first, *others = sorted((self._by_label.get(label, _NONE) for label in labels.items()), key=len)
        return first.intersection(*others)
