"""From files and flags to :class:`~teleport_conch.config.settings.Settings`."""

from __future__ import annotations

import base64
import binascii
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import evolve

from teleport_conch.config.document import (
    MAX_BYTES,
    Items,
    Map,
    Nothing,
    Text,
    Value,
    find,
    from_plain,
    override,
    read_document,
)
from teleport_conch.config.findings import Findings
from teleport_conch.config.keys import homes_of
from teleport_conch.config.names import name_from_host
from teleport_conch.config.secret import SHORT_TOKEN, check_secret_file
from teleport_conch.config.settings import DATA_DIR, SCHEMA, Settings
from teleport_conch.errors import ConfigError, UnsafePath

#: What is read if it is there and no file is named.
DEFAULT_PATH = Path("/etc/teleport.yaml")
#: The place of a mistake that is in a flag.
COMMAND_LINE = "command line"

#: Said by ``tctl status``, and by the start of an auth server whose file says so.
SESSIONS_NOT_RECORDED = "Sessions are NOT recorded (auth_service.session_recording: off)."


def load(path: Path | None, overrides: Mapping[str, object], default: Path = DEFAULT_PATH) -> Settings:
    """The settings of a file, and of flags over it.

    :param path: the file that was asked for; None for ``default`` where it exists, and for no file where it does not.
    :param overrides: values by dotted key, such as ``{"teleport.nodename": "db1"}``. None stands for "not given".
    :raises ConfigError: with a line for each mistake, or why the file cannot be read.
    :raises UnsafePath: others may change the file, or read the tokens in it, or in a file that it names.
    """
    host_name = socket.gethostname()
    if path is None and not os.path.exists(default):
        return parse("", COMMAND_LINE, overrides, host_name)
    chosen = path or default
    text, facts = _read(chosen)
    findings = Findings(homes=homes_of(SCHEMA))
    tree = read_document(text, str(chosen), findings)
    settings = _settle(tree, overrides, host_name, findings)
    if facts.st_mode & stat.S_IWOTH:
        raise UnsafePath(f"Everybody can change {chosen}. Run: chmod o-w {chosen}")
    for token in _tokens(tree):
        if token.startswith("/"):
            _check_token_file(Path(token))
        else:
            check_secret_file(chosen, facts)
    return settings


def load_encoded(encoded: str, name: str, overrides: Mapping[str, object]) -> Settings:
    """The settings of a whole configuration in base64 (``--config-string``, ``TELEPORT_CONFIG``).

    :param name: where it came from, for the places of mistakes.
    :raises ConfigError: it is not base64 of a configuration, or has mistakes.
    """
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8-sig")
    except (binascii.Error, ValueError):
        raise ConfigError(f"{name} is not a configuration in base64.") from None
    return parse(text, name, overrides, socket.gethostname())


def parse(text: str, name: str, overrides: Mapping[str, object], host_name: str) -> Settings:
    """The settings of a configuration's text; nothing is read or looked up.

    :param name: of the file, for the places of mistakes.
    :param host_name: what the operating system calls this host: the nodename and the cluster's name by default.
    :raises ConfigError: with a line for each mistake.
    """
    findings = Findings(homes=homes_of(SCHEMA))
    return _settle(read_document(text, name, findings), overrides, host_name, findings)


def _settle(tree: Map, overrides: Mapping[str, object], host_name: str, findings: Findings) -> Settings:
    for dotted, value in overrides.items():
        if value is not None:
            tree = override(tree, dotted, from_plain(value, COMMAND_LINE))
    for dotted, default in _computed(tree, name_from_host(host_name)):
        if isinstance(find(tree, dotted), Nothing):
            tree = override(tree, dotted, from_plain(default, tree.place))
    settings = SCHEMA.read(tree, "", findings)
    findings.raise_mistakes()
    assert settings is not None, "no settings, and no mistake either"
    notices = (*_not_recorded(settings), *findings.notices, *_short_tokens(settings))
    return evolve(settings, notices=notices, auth_keys=_given(find(tree, "auth_service")))


def _not_recorded(settings: Settings) -> Iterator[str]:
    if settings.auth.enabled and settings.auth.session_recording == "off":
        yield SESSIONS_NOT_RECORDED


def _given(section: Value) -> frozenset[str]:
    entries = section.entries if isinstance(section, Map) else ()
    return frozenset(entry.name for entry in entries if not isinstance(entry.value, Nothing))


def _computed(tree: Map, host: str) -> Iterator[tuple[str, str]]:
    """Defaults that depend on the host or on other keys."""
    yield "teleport.nodename", host
    yield "auth_service.cluster_name", host
    data_dir = find(tree, "teleport.data_dir")
    base = Path(data_dir.text) if isinstance(data_dir, Text) and data_dir.text.startswith("/") else DATA_DIR
    yield "teleport.storage.path", str(base / "backend")


def _read(path: Path) -> tuple[str, os.stat_result]:
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"file not found: {path}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}:1: the configuration is larger than {MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig"), facts
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: failed to parse Teleport configuration: this is not UTF-8") from None


def _tokens(tree: Map) -> Iterator[str]:
    """The join tokens of a file, or the paths of their files."""
    token = find(tree, "teleport.auth_token")
    if isinstance(token, Text):
        yield token.text
    for item in _items(find(tree, "auth_service.tokens")):
        if isinstance(item, Text):
            yield item.text.partition(":")[2]


def _items(value: Value) -> tuple[Value, ...]:
    return value.items if isinstance(value, Items) else (value,)


def _check_token_file(path: Path) -> None:
    """Look at a token's file if it is there: a host that has joined may have deleted it."""
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return
    check_secret_file(path, facts)


def _short_tokens(settings: Settings) -> Iterator[str]:
    for number, token in enumerate(settings.auth.tokens):
        if token.value.path() is None and len(token.value.reveal()) < SHORT_TOKEN:
            yield (
                f"auth_service.tokens[{number}]: the token has fewer than {SHORT_TOKEN} characters, never expires, and"
                " can be guessed; 'teleport configure' prints a better one."
            )
