"""Carries a command of ``tctl`` out: with the auth service, or with its storage where it does not run."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from twisted.internet.interfaces import IReactorTime
from twisted.python.reflect import namedAny

from teleport_conch.cli import reach as reaching
from teleport_conch.cli.answer import Answer
from teleport_conch.cli.connection import Authorities, Connection, Local, Run, RunAlone, RunLocally
from teleport_conch.cli.logs import begin_log, observer
from teleport_conch.cli.reach import Reach
from teleport_conch.cli.running import run_to_end
from teleport_conch.client.api import AuthClient
from teleport_conch.client.tls import client_options
from teleport_conch.config.loading import load
from teleport_conch.config.settings import Settings
from teleport_conch.errors import BadParameter, ConnectionProblem, StartError, StorageInUse

COMMANDS = "teleport_conch.cli.commands"
_OFFLINE = "teleport_conch.auth.offline.open_offline"
_OFFLINE_NOTE = "note: the auth service does not run on this host; its storage is used instead\n"


class _Offline(Authorities, Protocol):
    async def close(self) -> None: ...


def carry_out(arguments: Namespace) -> Answer:
    """What a parsed command answers, once the files that belong to the answer are written."""
    if arguments.prepare is not None:
        namedAny(f"{COMMANDS}.{arguments.prepare}")(arguments)
    answer = _answer(arguments)
    answer.write_files()
    return answer


def _answer(arguments: Namespace) -> Answer:
    if arguments.alone:
        look: RunAlone = namedAny(f"{COMMANDS}.{arguments.run}")
        return look(arguments)
    from twisted.internet import reactor

    begin_log(*([observer(sys.stderr, "debug")] if arguments.debug else []))
    if arguments.local:
        local = Local(reactor, _own_settings(arguments))
        run: RunLocally = namedAny(f"{COMMANDS}.{arguments.run}")
        return run_to_end(reactor, lambda: run(local, arguments))
    reach = reaching.find(arguments.config, arguments.auth_server or (), arguments.identity)
    return run_to_end(reactor, lambda: execute(reactor, reach, arguments))


def _own_settings(arguments: Namespace) -> Settings:
    if arguments.identity is not None or arguments.auth_server:
        raise BadParameter("This works on the auth host itself: leave --identity and --auth-server out.")
    return load(arguments.config, {})


async def execute(reactor: IReactorTime, reach: Reach, arguments: Namespace) -> Answer:
    """Run ``arguments.run`` with the auth service.

    A command that can do without (``arguments.offline``) gets the storage on an auth host whose service does not run,
    unless it was told which auth server to ask.
    """
    run: Run = namedAny(f"{COMMANDS}.{arguments.run}")
    may_do_without = arguments.offline and reach.settings is not None and not arguments.auth_server
    if reach.identity is not None:
        try:
            return await _online(reactor, reach, lambda connection: run(connection, arguments))
        except ConnectionProblem as problem:
            if not may_do_without:
                raise
            unreachable: ConnectionProblem | None = problem
    elif may_do_without:
        unreachable = None
    else:
        raise _no_identity(reach)
    try:
        return await _offline(reactor, reach, lambda connection: run(connection, arguments))
    except StorageInUse as in_use:
        raise unreachable or in_use from None


def _no_identity(reach: Reach) -> StartError:
    where = reach.settings.teleport.data_dir / "identities" / "admin.json" if reach.settings else ""
    return StartError(
        f"There is no identity for tctl in {where}: the auth service leaves it there when it starts. Start it, or"
        " administer another cluster with --identity and --auth-server."
    )


async def _online(reactor: IReactorTime, reach: Reach, run: Callable[[Connection], Awaitable[Answer]]) -> Answer:
    client = AuthClient(reactor, reach.addresses, client_options(reach.identity))
    try:
        return await run(Connection(reactor, reach, client))
    finally:
        await client.close()


async def _offline(reactor: IReactorTime, reach: Reach, run: Callable[[Connection], Awaitable[Answer]]) -> Answer:
    settings = cast(Settings, reach.settings)
    open_offline: Callable[[IReactorTime, Settings], Awaitable[_Offline]] = namedAny(_OFFLINE)
    with as_owner(settings.teleport.data_dir):
        storage = await open_offline(reactor, settings)
        try:
            answer = await run(Connection(reactor, reach, storage))
        finally:
            await storage.close()
    sys.stderr.write(_OFFLINE_NOTE)
    return answer


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Root works as the account that owns ``folder`` meanwhile, so that the service can use what is made in it."""
    owner = folder.stat() if folder.exists() else None
    if owner is None or os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
