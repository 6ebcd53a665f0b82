"""What plugins keep about an access request, in the shape of Teleport's ``plugin_data`` v3.

A plugin is a program that tells people of requests, in a chat or a list of tickets. What it has to find again, such as
the message that is to be changed once somebody has decided, it keeps with the request.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from teleport_conch.errors import BadParameter, CompareFailed
from teleport_conch.resources.fields import Fields, envelope

MAX_PLUGINS = 8
"""Of one request."""
MAX_ENTRIES = 32
"""Of one plugin about one request."""
MAX_NAME_CHARS = 64
MAX_VALUE_CHARS = 1024

Data = Mapping[str, str]


@frozen
class PluginData:
    """What all plugins keep about one access request.

    :ivar name: the id of the request.
    :ivar entries: by the names of the plugins, what each of them keeps.
    :ivar expires_at: POSIX seconds from which on it may be forgotten.
    """

    name: str
    entries: Mapping[str, Data]
    expires_at: float

    def to_json(self) -> dict[str, object]:
        entries = {plugin: {"data": dict(data)} for plugin, data in sorted(self.entries.items())}
        return {
            "kind": "plugin_data",
            "version": "v3",
            "metadata": {"name": self.name, "expires": self.expires_at},
            "spec": {"entries": entries},
        }

    @classmethod
    def from_json(cls, value: object) -> PluginData:
        """:raises BadParameter: it is no such resource."""
        _, metadata, spec = envelope(value, "plugin_data")
        entries = spec.child("entries")
        found = {plugin: read_data(entries.child(plugin), "data") for plugin in entries.raw()}
        return cls(metadata.text("name", max_chars=MAX_NAME_CHARS), found, metadata.instant("expires") or 0.0)

    def updated(self, plugin: str, expect: Data, put: Data) -> PluginData:
        """With ``put`` in what the plugin keeps; an empty value takes its entry out.

        :param expect: what has to be there for that, empty for what must not be.
        :raises CompareFailed: it is not.
        :raises BadParameter: there would be too much.
        """
        kept = dict(self.entries.get(plugin, {}))
        for key, value in expect.items():
            if kept.get(key, "") != value:
                raise CompareFailed(
                    f"What the plugin {plugin!a} keeps about this request under {key!a} is not what was expected."
                    " Read it again."
                )
        kept = {key: value for key, value in {**kept, **put}.items() if value}
        entries = {name: data for name, data in {**self.entries, plugin: kept}.items() if data}
        if len(kept) > MAX_ENTRIES or len(entries) > MAX_PLUGINS:
            raise BadParameter(
                f"At most {MAX_PLUGINS} plugins keep something about a request, each of them {MAX_ENTRIES} entries."
            )
        return evolve(self, entries=entries)


def read_data(fields: Fields, key: str) -> dict[str, str]:
    """Texts by name; absent means none. Raises :class:`BadParameter` for what is too long or too much."""
    found = fields.child(key)
    names = found.raw()
    if len(names) > MAX_ENTRIES or not all(0 < len(name) <= MAX_NAME_CHARS for name in names):
        raise BadParameter(
            f"{found.where} has at most {MAX_ENTRIES} entries, each with a name of at most {MAX_NAME_CHARS} characters."
        )
    return {name: found.text(name, default="", max_chars=MAX_VALUE_CHARS) for name in names}
