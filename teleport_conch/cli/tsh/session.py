"""A login that is still good: the one that there is, or a new one where that has ended."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from twisted.internet.interfaces import IReactorCore, IReactorTime

from teleport_conch.cli.logs import begin_log, observer
from teleport_conch.cli.running import run_to_end
from teleport_conch.cli.tsh import places
from teleport_conch.client.api import AuthClient
from teleport_conch.client.profiles import Home, Login
from teleport_conch.client.tls import client_options
from teleport_conch.errors import NotFound

_Value = TypeVar("_Value")

MARGIN_S = 5.0
"""A certificate that ends sooner is not worth beginning with, in seconds."""


def current_login(arguments: Namespace, home: Home) -> Login:
    """The login that a command line means; whose certificates have ended is asked to log in again.

    :raises TeleportError: there is none, and it cannot be made.
    """
    login = _found(arguments, home)
    if login is not None and not login.expired_at(time.time() + MARGIN_S):
        return login
    if login is None and not arguments.proxy:
        places.chosen_profile(arguments, home)  # whose refusal says what to do
    again_by_itself(arguments, home)
    return home.login(places.chosen_profile(arguments, home))


def _found(arguments: Namespace, home: Home) -> Login | None:
    try:
        return home.login(places.chosen_profile(arguments, home))
    except NotFound:
        return None


def again_by_itself(arguments: Namespace, home: Home) -> None:
    """Logs in, in a process of its own: this one's reactor is needed for what comes then, and runs once only."""
    import subprocess

    words = [sys.executable, "-m", "teleport_conch.cli.tsh.main", "login"]
    for name in ("proxy", "user", "cluster", "ca_pin"):
        value = getattr(arguments, name)
        words += [f"--{name.replace('_', '-')}={value}"] if value else []
    words += ["--insecure"] if arguments.insecure else []
    sys.stderr.write("The certificates have expired, or there are none; log in.\n")
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def with_auth(
    arguments: Namespace, login: Login, run: Callable[[IReactorTime, AuthClient], Awaitable[_Value]]
) -> _Value:
    """What ``run`` answers, with the API of auth, which the proxy leads to."""
    from twisted.internet import reactor as installed

    begin_log(*([observer(sys.stderr, "debug")] if arguments.debug else []))
    reactor = cast(IReactorTime, installed)

    async def work() -> _Value:
        client = AuthClient(reactor, [login.profile.web_proxy_addr], client_options(login.identity))
        try:
            return await run(reactor, client)
        finally:
            await client.close()

    return run_to_end(cast(IReactorCore, installed), work)
