"""Whether workers could read the keys of the authorities: auth beside a node or proxy needs an account of its own.

What can be found out is looked at: the state of an auth server in this service's ``data_dir``, where the configuration
has it, and in the folders beside ``data_dir``. What is elsewhere is the administrator's to know.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from teleport_conch.config.paths import BACKEND, DATABASE
from teleport_conch.errors import AccountShared
from teleport_conch.supervisor.plan import KEPT, Plan

MAX_NEIGHBOURS = 10_000
"""Folders beside ``data_dir`` that are looked into."""


def check_apart(plan: Plan) -> None:
    """Does nothing where auth is meant to be one of the workers' services.

    :raises AccountShared: auth's state is there, and the workers' account could read it.
    """
    if plan.account is None or plan.has_auth:
        return
    account = plan.account
    for folder in _candidates(plan):
        is_given = folder.is_relative_to(plan.data_dir)
        if os.path.isfile(folder / DATABASE) and (is_given or _can_read(account, folder / DATABASE)):
            raise AccountShared(
                f"{plan.what} speaks with the network as the account {account.pw_name}, which could read the keys of"
                f" the authorities in {folder}. Run auth as an account of its own, with a data_dir of its own (see"
                f" etc/systemd/teleport-auth.service), or this service with another teleport.account. Where auth has"
                f" left this host, remove {folder}."
            )


def check_alone(data_dir: Path, uid: int) -> None:
    """The same from the other side, for an auth server of the account with this uid, in this ``data_dir``.

    :raises AccountShared: a node beside it has workers of the same account.
    """
    for kept in _neighbours(data_dir):
        node = kept.with_suffix("")
        if kept.suffix == KEPT and node != data_dir and _owner(node) == uid:
            raise AccountShared(
                f"The node with the data_dir {node} speaks with the network as the account of this auth server, and"
                " could read the keys of the authorities. Run auth as an account of its own (see"
                f" etc/systemd/teleport-auth.service). Where that node has left this host, remove {kept}."
            )


def _candidates(plan: Plan) -> Iterator[Path]:
    yield plan.data_dir / BACKEND
    yield plan.storage
    for folder in _neighbours(plan.data_dir):
        yield folder / BACKEND


def _owner(path: Path) -> int:
    """The uid of an owner; -1 where nothing is, or nothing that may be looked at."""
    try:
        return path.stat().st_uid
    except OSError:
        return -1


def _neighbours(data_dir: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(data_dir.parent) as found:
        for _, entry in zip(range(MAX_NEIGHBOURS), found, strict=False):
            yield Path(entry.path)


def _can_read(account: pwd.struct_passwd, path: Path) -> bool:
    """By owners and modes, of the file and of the two folders that it is in; an owner can give himself every right."""
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    rights = ((path.parent.parent, stat.S_IXUSR), (path.parent, stat.S_IXUSR), (path, stat.S_IRUSR))
    return all(_may(account.pw_uid, groups, each, right) for each, right in rights)


def _may(uid: int, groups: Collection[int], path: Path, right: int) -> bool:
    found = path.stat()
    if found.st_uid == uid:
        return True
    shift = 3 if found.st_gid in groups else 6
    return bool(found.st_mode & right >> shift)
