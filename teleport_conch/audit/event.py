"""One event as JSON: made here from the catalogue, or checked against it when another host sent it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from teleport_conch.audit.catalogue import EVENTS, FIELDS, OF_HOSTS, EventType, Shape
from teleport_conch.errors import BadParameter

Event = dict[str, object]

MAX_TEXT_BYTES = 2048
MAX_ITEM_BYTES = 256
"""The longest text in a list or map, keys of the map included."""
MAX_ITEMS = 64
MAX_LINE_BYTES = 512
MAX_LINES = 192
"""Lines of a trace: each of many roles has some."""
CUT = "...[cut]"
"""What a text ends in that was longer."""

_MAX_NUMBER = (1 << 63) - 1
_LAST_INSTANT = 253402300799.0
_IN_EVERY_EVENT = frozenset({"event", "code", "time", "uid"})
_TIME = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z")
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def instant(seconds: float) -> str:
    """POSIX seconds as RFC 3339 in UTC with milliseconds; such texts sort as the instants do."""
    moment = datetime.fromtimestamp(min(max(seconds, 0.0), _LAST_INSTANT), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def build(name: str, success: bool, fields: Mapping[str, object], now: float, uid: str) -> Event:
    """The event ``name`` as it is stored and sent.

    Texts are cut at their bounds, with a mark; what is in them is whatever somebody put there, and JSON escapes it.

    :param fields: by the catalogue; those that are None are left out, and ``addr_remote`` and ``addr_local`` are
        written with the dot that no Python name can have. Instants are POSIX seconds.
    :param now: POSIX seconds.
    :param uid: a UUID; it makes sending the event twice harmless.
    :raises ValueError: a mistake in the program: an event or field that the catalogue does not have, one that it asks
        for, or a value of another shape.
    """
    if name not in EVENTS:
        raise ValueError(f"there is no event {name!r} in the catalogue")
    kind = EVENTS[name]
    given = {_NAMES.get(key, key): value for key, value in fields.items() if value is not None}
    event: Event = {"event": name, "code": kind.code(success), "time": instant(now), "uid": uid, "ei": 0}
    if kind.code_failed:
        event["success"] = success
    return {**event, **_stored(kind, given)}


_NAMES = {"addr_remote": "addr.remote", "addr_local": "addr.local"}


def check(value: object, server_id: str) -> Event:
    """An event that the host ``server_id`` sent: such as :func:`build` makes, and about that host.

    :raises BadParameter: it is not, and why.
    """
    if not isinstance(value, dict) or not isinstance(value.get("event"), str) or value["event"] not in EVENTS:
        raise BadParameter("an event has to be an object with the name of an event that this cluster knows.")
    kind = EVENTS[value["event"]]
    if kind.name not in OF_HOSTS:
        raise BadParameter(f"the event {kind.name} is one of auth's own, which no host hands in.")
    if value.get("code") not in kind.codes or value.get("success", True) is not (value["code"] == kind.code_ok):
        raise BadParameter(f"the event {kind.name} has the wrong code.")
    if not _matches(_TIME, value.get("time")) or not _matches(_UID, value.get("uid")):
        raise BadParameter(f"the event {kind.name} needs a time like {instant(0)} and a UUID as its uid.")
    if value.get("server_id") != server_id:
        raise BadParameter(f"the event {kind.name} is not from the host that sent it.")
    heading = {key: each for key, each in value.items() if key in _IN_EVERY_EVENT or key == "success"}
    try:
        return {**heading, **_stored(kind, {key: each for key, each in value.items() if key not in heading})}
    except ValueError as error:
        raise BadParameter(f"{error}.") from None


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _stored(kind: EventType, fields: Mapping[str, object]) -> Event:
    missing, unknown = kind.required - fields.keys(), fields.keys() - kind.fields
    if missing or unknown:
        wrong, verb = (min(missing), "lacks") if missing else (min(unknown)[:64], "has no")
        raise ValueError(f"the event {kind.name} {verb} field {wrong!a}")
    return {key: _WRITER_OF[key](key, value) for key, value in fields.items()}


def _wrong(key: str, shape: Shape) -> ValueError:
    return ValueError(f"the field {key} has to be a {shape.value}")


def cut(text: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """``text`` in at most ``max_bytes`` of UTF-8, with :data:`CUT` at its end if there was more."""
    if text.isascii() and len(text) <= max_bytes:
        return text
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= max_bytes:
        return data.decode("utf-8")
    return data[: max_bytes - len(CUT)].decode("utf-8", "ignore") + CUT


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(key, Shape.TEXT)
    return cut(value)


def _number(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MAX_NUMBER:
        raise _wrong(key, Shape.NUMBER)
    return value


def _flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, Shape.FLAG)
    return value


def _texts(key: str, value: object) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise _wrong(key, Shape.TEXTS)
    return [cut(each, MAX_ITEM_BYTES) for each in value[:MAX_ITEMS]]


def _lines(key: str, value: object) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise _wrong(key, Shape.LINES)
    more = [CUT] if len(value) > MAX_LINES else []
    return [cut(each, MAX_LINE_BYTES) for each in value[: MAX_LINES - len(more)]] + more


def _text_map(key: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong(key, Shape.TEXT_MAP)
    stored: dict[str, str] = {}
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise _wrong(key, Shape.TEXT_MAP)
        if len(stored) < MAX_ITEMS:
            stored[cut(name, MAX_ITEM_BYTES)] = cut(text, MAX_ITEM_BYTES)
    return stored


def _instant(key: str, value: object) -> str:
    if isinstance(value, str) and _TIME.fullmatch(value):
        return value
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        raise _wrong(key, Shape.INSTANT)
    return instant(value)


_WRITERS: Mapping[Shape, Callable[[str, object], object]] = {
    Shape.TEXT: _text,
    Shape.NUMBER: _number,
    Shape.FLAG: _flag,
    Shape.TEXTS: _texts,
    Shape.LINES: _lines,
    Shape.TEXT_MAP: _text_map,
    Shape.INSTANT: _instant,
}
_WRITER_OF = {key: _WRITERS[shape] for key, shape in FIELDS.items()}
