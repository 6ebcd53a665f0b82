"""Names of nodes, clusters, labels and environment variables, as far as the configuration decides them."""

from __future__ import annotations

import re
from uuid import UUID

from teleport_conch.config.addresses import MAX_HOST_LENGTH, parse_host

_LABEL_KEY = re.compile(r"[a-zA-Z/.0-9_*-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")

#: The longest key or value of a label, in characters.
MAX_LABEL = 256


def parse_name(text: str) -> str:
    """A nodename or cluster name: a host name or address, in lower case since names are compared so.

    :raises ValueError: with a sentence. A name in the form of a UUID is refused, since it could be taken for a host's.
    """
    name = parse_host(text)
    if _is_uuid(name):
        raise ValueError(f"'{name}' has the form of a host UUID: choose a name")
    return name


def name_from_host(host_name: str) -> str:
    """A valid name made of what the operating system calls this host; ``localhost`` if nothing of it can be used."""
    letters = re.sub(r"[^a-z0-9_.-]+", "-", host_name.lower())
    labels = (label[:63].strip("-") for label in letters.split("."))
    name = ".".join(label for label in labels if label)
    try:
        return parse_name(name[:MAX_HOST_LENGTH].rstrip("-."))
    except ValueError:
        return "localhost"


def parse_label_key(text: str) -> str:
    """:raises ValueError: with a sentence."""
    if len(text) > MAX_LABEL or not _LABEL_KEY.fullmatch(text):
        raise ValueError(f"the label '{text[:64]}' has other characters than letters, digits and /._*-")
    return text


def parse_label_value(text: str) -> str:
    """:raises ValueError: with a sentence."""
    if len(text) > MAX_LABEL or not text.isprintable():
        raise ValueError(f"the value of a label has at most {MAX_LABEL} characters, all of them printable")
    return text


def parse_variable(text: str) -> str:
    """The name of an environment variable, or the beginning of names followed by ``*``.

    :raises ValueError: with a sentence.
    """
    if not _VARIABLE.fullmatch(text):
        raise ValueError(f"'{text[:64]}' is not the name of an environment variable, like LANG or LC_*")
    return text


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
