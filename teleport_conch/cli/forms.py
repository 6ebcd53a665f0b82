"""Resources as people and Teleport write them: instants are dates of RFC 3339, spans of time like ``15m``.

The API has numbers of seconds for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from teleport_conch.cli.instants import rfc3339
from teleport_conch.cli.table import inert
from teleport_conch.durations import format_duration
from teleport_conch.errors import BadParameter

_SERVER = ("join.joined", "status.last_seen")
#: Where a resource has instants, by its kind; every kind may have ``metadata.expires``.
INSTANTS: Mapping[str, tuple[str, ...]] = {
    "user": ("spec.created_by.time", "spec.status.lock_expires"),
    "lock": ("spec.created",),
    "access_request": ("spec.created", "spec.expires"),
    "token": ("spec.created",),
    "bot": ("spec.created", "status.renewed"),
    "node": _SERVER,
    "proxy": _SERVER,
    "session": ("spec.created", "spec.ended"),
    "ssh_session": ("spec.created", "spec.last_active", "spec.parties.last_active"),
}
#: Where one has spans of time, which are read in either form.
SPANS: Mapping[str, tuple[str, ...]] = {
    "cluster_config": (
        *("spec.heartbeat_interval", "spec.offline_nodes_kept", "spec.keep_alive_interval"),
        *("spec.client_idle_timeout", "spec.session_control_timeout"),
    ),
}


def as_written(value: object) -> Any:
    """A copy of what JSON can hold, in which each resource is as it is written."""
    if isinstance(value, Mapping):
        copied = {key: as_written(each) for key, each in value.items()}
        if "metadata" in copied and isinstance(copied.get("kind"), str):
            _change(copied, _instants_of(copied["kind"]), rfc3339)
            _change(copied, SPANS.get(copied["kind"], ()), format_duration)
        return copied
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [as_written(each) for each in value]
    return value


def _instants_of(kind: str) -> Sequence[str]:
    return ("metadata.expires", *INSTANTS.get(kind, ()))


def _change(resource: dict[str, Any], paths: Sequence[str], write: Callable[[float], str]) -> None:
    for path in paths:
        for holder, key in _places(resource, path.split(".")):
            if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = write(holder[key])


def _places(holder: object, keys: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    """Each object at the end of a path, with its last key; of a list on the way, all items are gone through."""
    if isinstance(holder, list):
        for each in holder:
            yield from _places(each, keys)
    elif isinstance(holder, dict) and keys[0] in holder:
        if len(keys) == 1:
            yield holder, keys[0]
        else:
            yield from _places(holder[keys[0]], keys[1:])


def read_instants(resource: dict[str, Any]) -> None:
    """Makes POSIX seconds of the dates in a resource that somebody wrote; what is a number already stays.

    :raises BadParameter: something else stands there.
    """
    kind = str(resource.get("kind", ""))
    for path in _instants_of(kind):
        for holder, key in _places(resource, path.split(".")):
            try:
                holder[key] = _seconds(holder[key])
            except ValueError:
                raise BadParameter(
                    f"{inert(kind[:64])}.{path} is no instant: write it like 2030-01-01T00:00:00Z."
                ) from None


def _seconds(value: object) -> float | None:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the zone comes next
    if not isinstance(value, datetime):
        raise ValueError("that is no instant")
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
