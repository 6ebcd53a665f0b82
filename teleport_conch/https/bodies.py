"""JSON that others send."""

from __future__ import annotations

import json

from teleport_conch.errors import BadParameter


def decoded(data: bytes) -> object:
    """The value of a JSON text in UTF-8.

    :raises BadParameter: it is none; a number that is none, or half of a character, is refused like other noise.
    """
    try:
        # Given bytes, json would guess at other encodings, and take halves of characters in this one.
        value: object = _decode(data.decode("utf-8"))
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadParameter("The body of the request is not JSON.") from None
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
