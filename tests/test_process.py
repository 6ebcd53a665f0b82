"""All services in one process: what auth is told of the others, and they of it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

import yaml
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import process
from teleport_conch.config.loading import parse
from teleport_conch.config.settings import Settings
from tests.cli.auth_host import the_reactor


class _Started(Service):
    """A service that only remembers its settings."""

    port = 3025
    ca_pin = "sha256:" + 64 * "0"
    told: ClassVar[dict[str, Settings]] = {}

    def __init__(self, reactor: object, settings: Settings, given: object) -> None:
        self.told[type(self).__name__] = settings

    @property
    def started(self) -> Awaitable[None]:
        return succeed(None)


class ProcessTests(SynchronousTestCase):
    def started(self, **enabled: str) -> dict[str, Settings]:
        """The settings that each of the services got."""
        told: dict[str, Settings] = {}
        for name in ("AuthService", "ProxyService", "NodeService"):
            self.patch(process, name, type(name, (_Started,), {"told": told}))
        services = {f"{name}_service": {"enabled": enabled.get(name, "no")} for name in ("auth", "proxy", "ssh")}
        text = yaml.safe_dump({"teleport": {"data_dir": "/nowhere", "nodename": "one"}, **services})
        together = process.Process(the_reactor, parse(text, "a test", {}, "one"))
        self.successResultOf(Deferred.fromCoroutine(together.start_up()))
        return told

    def test_token_of_its_own(self) -> None:
        """Proxy and node join with a token that exists as long as the process; auth alone has none."""
        told = self.started(auth="yes", ssh="yes")
        (token,) = told["AuthService"].auth.tokens
        self.assertEqual((token.roles, token.created_by), (("node", "proxy"), "this process"))
        self.assertEqual(told["NodeService"].teleport.auth_token, token.value)
        self.assertEqual(self.started(auth="yes")["AuthService"].auth.tokens, ())
