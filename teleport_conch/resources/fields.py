"""Reads JSON that others wrote: every field has a type and a bound, and every refusal names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping

from teleport_conch.durations import parse_duration
from teleport_conch.errors import BadParameter

NEVER = "never"
"""Of a duration: without an end."""
MAX_TEXT_CHARS = 1024
MAX_ITEMS = 256


class Fields:
    """One JSON object, read field by field.

    :param value: what was decoded; anything but an object is refused.
    :param where: how the object is called in a refusal, such as ``token.spec``.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise BadParameter(f"{where} has to be an object.")
        self._value: Mapping[object, object] = value
        self.where = where

    def _get(self, key: str, wanted: type | tuple[type, ...], called: str, required: bool) -> object:
        found = self._value.get(key)
        if found is None:
            if required:
                raise BadParameter(f"missing parameter {self.where}.{key}")
            return None
        if not isinstance(found, wanted) or (isinstance(found, bool) and wanted is not bool):
            raise BadParameter(f"{self.where}.{key} has to be {called}.")
        return found

    def text(self, key: str, default: str | None = None, max_chars: int = MAX_TEXT_CHARS) -> str:
        """A string of at most ``max_chars`` characters; without a default it may be neither absent nor empty."""
        found = self._get(key, str, "a string", required=default is None)
        if found is None:
            return default or ""
        return self._bounded(found, key, max_chars, may_be_empty=default is not None)

    def _bounded(self, found: object, key: str, max_chars: int, may_be_empty: bool = True) -> str:
        if not isinstance(found, str):
            raise BadParameter(f"{self.where}.{key} has to hold strings only.")
        if len(found) > max_chars:
            raise BadParameter(f"{self.where}.{key} is longer than {max_chars} characters.")
        if not found and not may_be_empty:
            raise BadParameter(f"missing parameter {self.where}.{key}")
        return found

    def texts(self, key: str, max_items: int = MAX_ITEMS, max_chars: int = MAX_TEXT_CHARS) -> tuple[str, ...]:
        """A list of strings; absent means empty."""
        found = self._get(key, list, "a list", required=False)
        if not isinstance(found, list):
            return ()
        if len(found) > max_items:
            raise BadParameter(f"{self.where}.{key} has more than {max_items} items.")
        return tuple(self._bounded(item, key, max_chars) for item in found)

    def number(self, key: str, default: float | None = None) -> float:
        found = self._get(key, (int, float), "a number", required=default is None)
        return self._finite(found, key) if isinstance(found, int | float) else default or 0.0

    def instant(self, key: str) -> float | None:
        """POSIX seconds, or None where the field is absent."""
        found = self._get(key, (int, float), "a number of POSIX seconds", required=False)
        return self._finite(found, key) if isinstance(found, int | float) else None

    def duration(self, key: str, default: float) -> float:
        """Seconds: a number of them, or a text such as ``1h30m``; ``never`` is 0."""
        found = self._value.get(key)
        if not isinstance(found, str):
            return self.number(key, default)
        try:
            return 0.0 if found.lower() == NEVER else parse_duration(found)
        except ValueError as wrong:
            raise BadParameter(f"{self.where}.{key}: {wrong}.") from None

    def _finite(self, found: float, key: str) -> float:
        """JSON has no infinity, but ``1e999`` is read as one, and an integer may be too large for a float."""
        try:
            value = float(found)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise BadParameter(f"{self.where}.{key} is a number out of range.")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        found = self._get(key, bool, "true or false", required=False)
        return found if isinstance(found, bool) else default

    def text_map(self, key: str, max_items: int = MAX_ITEMS, max_chars: int = MAX_TEXT_CHARS) -> dict[str, str]:
        """An object whose values are strings, such as labels; absent means empty."""
        found = self._get(key, dict, "an object", required=False)
        if not isinstance(found, dict):
            return {}
        if len(found) > max_items:
            raise BadParameter(f"{self.where}.{key} has more than {max_items} entries.")
        return {
            self._bounded(name, key, max_chars, may_be_empty=False): self._bounded(text, key, max_chars)
            for name, text in found.items()
        }

    def child(self, key: str) -> Fields:
        """An object inside this one; absent means empty."""
        found = self._get(key, dict, "an object", required=False)
        return Fields({} if found is None else found, f"{self.where}.{key}")

    def named_children(self, key: str, max_items: int = MAX_ITEMS) -> dict[str, Fields]:
        """An object of objects."""
        found = self._get(key, dict, "an object", required=False)
        if not isinstance(found, dict):
            return {}
        if len(found) > max_items:
            raise BadParameter(f"{self.where}.{key} has more than {max_items} entries.")
        names = {self._bounded(name, key, MAX_TEXT_CHARS, may_be_empty=False): value for name, value in found.items()}
        return {name: Fields(value, f"{self.where}.{key}.{name}") for name, value in names.items()}

    def children(self, key: str, max_items: int = MAX_ITEMS) -> tuple[Fields, ...]:
        """A list of objects; absent means empty."""
        found = self._get(key, list, "a list", required=False)
        if not isinstance(found, list):
            return ()
        if len(found) > max_items:
            raise BadParameter(f"{self.where}.{key} has more than {max_items} items.")
        return tuple(Fields(value, f"{self.where}.{key}[{at}]") for at, value in enumerate(found))

    def raw(self) -> dict[str, object]:
        """The object as it came, for fields whose own room reads them."""
        return {str(key): value for key, value in self._value.items()}


def envelope(value: object, kind: str) -> tuple[Fields, Fields, Fields]:
    """The resource, its ``metadata`` and its ``spec``, once ``kind`` is what was expected."""
    fields = Fields(value, kind)
    if fields.text("kind", default="") != kind:
        raise BadParameter(f"a resource of kind {kind} is due, and this one says {fields.text('kind', default='')!r}.")
    return fields, fields.child("metadata"), fields.child("spec")
