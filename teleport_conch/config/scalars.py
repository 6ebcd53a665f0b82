"""The kinds of single values that keys have."""

from __future__ import annotations

import math
import re
from pathlib import Path

from attrs import frozen

from teleport_conch.config.addresses import Address, parse_address, parse_listen_address
from teleport_conch.config.document import Value
from teleport_conch.config.findings import Findings
from teleport_conch.config.kinds import Many, One
from teleport_conch.durations import format_duration, parse_duration

AUTH_PORT = 3025
NODE_PORT = 3022
PROXY_PORT = 3023
TUNNEL_PORT = 3024
WEB_PORT = 3080

_YES = frozenset({"yes", "yeah", "y", "true", "1", "on"})
_NO = frozenset({"no", "nope", "n", "false", "0", "off"})

_SERVICE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_PIN = re.compile(r"sha256:[0-9a-f]{64}")
_OUTPUTS = {"stderr": "stderr", "error": "stderr", "2": "stderr", "stdout": "stdout", "out": "stdout", "1": "stdout"}
_SEVERITIES = {"error": "error", "warn": "warn", "warning": "warn", "info": "info", "debug": "debug"}

#: The longest path, in characters (Linux's PATH_MAX is 4096 bytes).
MAX_PATH = 1024


def parse_bool(text: str) -> bool:
    """:raises ValueError: with a sentence."""
    word = text.lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise ValueError(f"'{text[:64]}' is neither yes nor no")


def parse_switch(text: str) -> bool | None:
    """Yes, no, or None for ``automatic``.

    :raises ValueError: with a sentence.
    """
    if text.lower() == "automatic":
        return None
    try:
        return parse_bool(text)
    except ValueError:
        raise ValueError(f"'{text[:64]}' is neither yes nor no nor automatic") from None


def parse_service_name(text: str) -> str:
    """The name of a PAM service, which is that of a file in ``/etc/pam.d``.

    :raises ValueError: with a sentence.
    """
    if not _SERVICE_NAME.fullmatch(text):
        raise ValueError(f"'{text[:64]}' is not the name of a file in /etc/pam.d")
    return text


def parse_path(text: str) -> Path:
    """An absolute path, since a service does not start where the file was written.

    :raises ValueError: with a sentence.
    """
    if not text.startswith("/") or "\0" in text or len(text) > MAX_PATH:
        raise ValueError(f"'{text[:64]}' is not an absolute path")
    return Path(text)


def parse_words(text: str) -> str:
    """Text for people and programs, without control characters.

    :raises ValueError: with a sentence.
    """
    if not text or "\0" in text:
        raise ValueError("the text is empty, or has NUL characters")
    return text


def parse_pin(text: str) -> str:
    """:raises ValueError: with a sentence."""
    if not _PIN.fullmatch(text.lower()):
        raise ValueError("a CA pin is 'sha256:' and 64 hexadecimal digits, as 'tctl status' shows it")
    return text.lower()


def parse_output(text: str) -> str:
    """``stderr``, ``stdout`` or an absolute path.

    :raises ValueError: with a sentence.
    """
    if text.lower() in _OUTPUTS:
        return _OUTPUTS[text.lower()]
    if text.lower() == "syslog":
        raise ValueError("'syslog' is not built yet: the log goes to stderr, stdout or a file")
    if not text.startswith("/"):
        raise ValueError(f"'{text[:64]}' is neither stderr nor stdout nor an absolute path")
    return str(parse_path(text))


def parse_severity(text: str) -> str:
    """:raises ValueError: with a sentence."""
    if text.lower() not in _SEVERITIES:
        raise ValueError(f"unsupported logger severity: '{text[:32]}' is not one of ERROR, WARN, INFO, DEBUG")
    return _SEVERITIES[text.lower()]


def parse_auth_server(text: str) -> Address:
    """Of an auth server, or of a proxy's web port, which passes calls on.

    :raises ValueError: with a sentence.
    """
    return parse_address(text, AUTH_PORT)


YES_NO = One(parse_bool)
SWITCH = One(parse_switch)
SERVICE_NAME = One(parse_service_name)
PATH = One(parse_path)
WORDS = One(parse_words)


def choice(*words: str) -> One[str]:
    """One of some words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"'{text[:64]}' is not one of {', '.join(words)}")
        return text.lower()

    return One(parse)


def program(*words: str) -> One[str]:
    """The absolute path of a program, or one of some words."""

    def parse(text: str) -> str:
        if text.lower() in words:
            return text.lower()
        try:
            return str(parse_path(text))
        except ValueError:
            raise ValueError(f"'{text[:64]}' is neither {' nor '.join(words)} nor an absolute path") from None

    return One(parse)


def whole(lowest: int, highest: int) -> One[int]:
    """A whole number between two bounds, both included."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 18 and lowest <= int(text) <= highest):
            raise ValueError(f"'{text[:32]}' is not a whole number from {lowest} to {highest}")
        return int(text)

    return One(parse)


def duration(lowest: float = 0.0, highest: float = math.inf, never: frozenset[str] = frozenset()) -> One[float]:
    """Seconds between two bounds.

    :param never: the words that stand for a wait without end, answered as infinity; if there are any, so is zero.
    """

    def parse(text: str) -> float:
        if text.lower() in never:
            return math.inf
        seconds = parse_duration(text)
        if never and seconds == 0:
            return math.inf
        if seconds < lowest:
            raise ValueError(f"'{text}' is too short: at least {format_duration(lowest)}")
        if seconds > highest:
            raise ValueError(f"'{text}' is too long: at most {format_duration(highest)}")
        return seconds

    return One(parse)


def listen(port: int) -> One[Address]:
    return One(lambda text: parse_listen_address(text, port))


def addresses(port: int, at_least: int = 0) -> Many[Address]:
    return Many(One(lambda text: parse_address(text, port)), at_least=at_least)


@frozen
class Period:
    """The seconds between two runs of a label's command; under a second it is raised to one, as Teleport does."""

    def read(self, value: Value, path: str, findings: Findings) -> float | None:
        seconds = duration(highest=86_400.0).read(value, path, findings)
        if seconds is None or seconds >= 1:
            return seconds
        findings.notice(f"{path}: the period is under a second; the command runs once a second.")
        return 1.0
