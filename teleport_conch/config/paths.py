"""The files of a service, who owns them and with which modes, and the check of ``data_dir`` at every start."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from attrs import frozen

from teleport_conch.errors import UnsafePath

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH

#: Who owns what a service writes.
ACCOUNT = "the service's account"
ROOT = "root"

BACKEND = "backend"
DATABASE = "sqlite.db"
"""Auth's state: the folder in ``data_dir``, unless the configuration names another, and the file in it."""


@frozen
class PathRule:
    """One row of the table of paths (``docs/configuration.rst`` shows the same rows).

    :ivar path: with ``<data_dir>`` for the setting.
    :ivar mode: the widest permissions that are accepted.
    """

    path: str
    owner: str
    mode: int
    purpose: str


PATHS = (
    PathRule("/etc/teleport.yaml", ACCOUNT, 0o600, "the configuration; 0644 will do if no token is in it"),
    PathRule("<token file>", ACCOUNT, 0o600, "a join token that the configuration names by its path"),
    PathRule("<data_dir>", ACCOUNT, 0o700, "everything that a service keeps; made at the first start"),
    PathRule("<data_dir>/host_uuid", ACCOUNT, 0o400, "the host's identity number, made once"),
    PathRule("<data_dir>/identities", ACCOUNT, 0o700, "private keys and certificates of the services on this host"),
    PathRule("<data_dir>/ca.cert", ACCOUNT, 0o644, "the cluster's host authority, kept at joining"),
    PathRule(
        "<data_dir>/backend", ACCOUNT, 0o700, "auth: the state of the cluster, with the authorities' private keys"
    ),
    PathRule("<data_dir>/cache", ACCOUNT, 0o700, "node and proxy: what they know when auth is away"),
    PathRule("<data_dir>/log", ACCOUNT, 0o750, "auth: events by day"),
    PathRule("<data_dir>/log/records", ACCOUNT, 0o700, "auth: recordings of sessions"),
    PathRule("<data_dir>.monitor/authorities", ROOT, 0o644, "a node with workers: whose certificates open accounts"),
    PathRule("<data_dir>.monitor/host_key", ROOT, 0o600, "a node with workers: its host key, made once"),
    PathRule("<data_dir>.monitor/host_name", ROOT, 0o644, "a node with workers: the name in its host certificates"),
)


SHARED = ("cache", "log")
"""Folders of :data:`PATHS` in which several services make their own."""


def prepare_data_dir(data_dir: Path) -> None:
    """Make ``data_dir`` if it is missing, and refuse one that others could have prepared or can change.

    The folders inside are held to :data:`PATHS` if others may enter ``data_dir`` at all; the shared ones are made, as
    whoever makes one on the way to its own gives it another mode.

    :raises UnsafePath: with the command that mends it.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = data_dir.stat()
    except FileExistsError:
        raise UnsafePath(f"data_dir {data_dir} is a file, and a folder is needed.") from None
    except OSError as error:
        raise UnsafePath(f"data_dir {data_dir} cannot be used: {error.strerror}.") from None
    check_owner(data_dir, facts, os.geteuid())
    _check_not_writable(data_dir, facts)
    for parent in data_dir.resolve().parents:
        _check_parent(parent, data_dir)
    if facts.st_mode & _OTHERS_ENTER:
        _check_inside(data_dir)
    _make_shared(data_dir)


def _make_shared(data_dir: Path) -> None:
    modes = {rule.path: rule.mode for rule in PATHS}
    try:
        for name in SHARED:
            (data_dir / name).mkdir(mode=modes[f"<data_dir>/{name}"], exist_ok=True)
    except OSError as error:
        raise UnsafePath(f"data_dir {data_dir} cannot be used: {error.strerror}.") from None


def check_owner(path: Path, facts: os.stat_result, running: int) -> None:
    """:raises UnsafePath: somebody else than the running account or root owns ``path``."""
    if facts.st_uid not in (running, 0):
        raise UnsafePath(
            f"{path} belongs to the account with uid {facts.st_uid}, and this service runs as uid {running}."
            f" Start it as uid {facts.st_uid}, or run: chown -R {running} {path}"
        )


def _check_not_writable(path: Path, facts: os.stat_result) -> None:
    if facts.st_mode & _OTHERS_WRITE:
        raise UnsafePath(
            f"Others than its owner can write to {path} (mode {stat.S_IMODE(facts.st_mode):04o})."
            f" Run: chmod go-w {path}"
        )


def _check_parent(parent: Path, data_dir: Path) -> None:
    """A folder in which everybody may rename entries (no sticky bit) lets everybody exchange ``data_dir``."""
    mode = parent.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise UnsafePath(f"Everybody can exchange data_dir {data_dir}, through {parent}. Run: chmod o-w {parent}")


def _check_inside(data_dir: Path) -> None:
    for rule in PATHS:
        head, _, name = rule.path.partition("<data_dir>/")
        path = data_dir / name
        if head or not name or not path.exists():
            continue
        facts = path.stat()
        check_owner(path, facts, os.geteuid())
        if facts.st_mode & _OTHERS & ~rule.mode:
            raise UnsafePath(
                f"{path} is open to others (mode {stat.S_IMODE(facts.st_mode):04o}). Run: chmod {rule.mode:04o} {path}"
            )
