"""Calls to auth, to which the proxy leads."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from twisted.internet.interfaces import IReactorCore, IReactorTime

from teleport_conch.cli.logs import begin_log, observer
from teleport_conch.cli.running import run_to_end
from teleport_conch.client.api import AuthClient
from teleport_conch.client.failures import AUTH_BEHIND_PROXY
from teleport_conch.client.profiles import Login
from teleport_conch.client.tls import client_options

_Value = TypeVar("_Value")


def in_reactor(debug: bool, work: Callable[[Any], Awaitable[_Value]]) -> _Value:
    """What a coroutine answers that needs a reactor."""
    from twisted.internet import reactor

    begin_log(*([observer(sys.stderr, "debug")] if debug else []))
    return run_to_end(cast(IReactorCore, reactor), lambda: work(reactor))


def with_auth(arguments: Namespace, login: Login, run: Callable[[Any, AuthClient], Awaitable[_Value]]) -> _Value:
    """What ``run`` answers, with the reactor and the API of auth, which the proxy leads to."""
    return in_reactor(arguments.debug, lambda reactor: asked(reactor, login, run))


async def asked(reactor: IReactorTime, login: Login, run: Callable[[Any, AuthClient], Awaitable[_Value]]) -> _Value:
    """The same, where the reactor runs."""
    address = login.profile.web_proxy_addr
    client = AuthClient(reactor, [address], client_options(login.identity), called=AUTH_BEHIND_PROXY)
    try:
        return await run(reactor, client)
    finally:
        await client.close()
