"""What hosts say of themselves, as far as others will read it: labels, and text that is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

from teleport_conch.auth.limits import MAX_LABEL_VALUE_BYTES, MAX_LABELS
from teleport_conch.errors import BadParameter

_KEY = re.compile(r"[a-zA-Z/.0-9_*-]{1,256}")


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels, once all of them are fit to be shown and matched.

    :raises BadParameter: too many, a key with other characters than Teleport's, a value too long or not printable.
    """
    if len(labels) > MAX_LABELS:
        raise BadParameter(f"A host has at most {MAX_LABELS} labels, and this one would have {len(labels)}.")
    for key, value in labels.items():
        if not _KEY.fullmatch(key):
            shown = key[:64].encode("unicode_escape").decode("ascii")
            raise BadParameter(f"The label '{shown}' has other characters than letters, digits and /._*-")
        if len(value.encode("utf-8", "replace")) > MAX_LABEL_VALUE_BYTES:
            raise BadParameter(f"The value of the label {key!r} is longer than {MAX_LABEL_VALUE_BYTES} bytes.")
        if not value.isprintable():
            raise BadParameter(f"The value of the label {key!r} holds characters that cannot be printed.")
    return dict(labels)


def check_printable(what: str, *texts: str) -> None:
    """:raises BadParameter: one of them holds what a terminal would obey."""
    if not all(text.isprintable() for text in texts):
        raise BadParameter(f"{what} holds characters that cannot be printed.")
