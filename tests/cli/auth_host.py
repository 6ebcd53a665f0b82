"""A real auth service on loopback, with its configuration file, and tctl beside it in the same process."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import cast

import yaml
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_conch.auth.service import AuthService
from teleport_conch.certs import keys
from teleport_conch.cli import reach
from teleport_conch.cli.answer import Answer
from teleport_conch.cli.connecting import execute
from teleport_conch.cli.tctl import parse
from teleport_conch.client.api import AuthClient
from teleport_conch.client.joining import identity_of
from teleport_conch.client.tls import client_options
from teleport_conch.config.loading import load
from teleport_conch.resources.joining import Heartbeat, JoinRequest
from teleport_conch.resources.server import Server
from teleport_conch.starting import Reactor

CLUSTER = "main.example"
STATIC_TOKEN = "a-static-token-of-the-tests"
SSH_KEY = keys.generate_ssh_key()
TLS_KEY = keys.generate_tls_key()
the_reactor = cast(Reactor, reactor)


@define(eq=False)
class AuthHost:
    """The host of an auth service that a test starts and stops."""

    folder: Path
    port: int = 0
    _service: AuthService | None = field(init=False, default=None)

    @property
    def config(self) -> Path:
        return self.folder / "teleport.yaml"

    def write(self) -> None:
        """The configuration; once the service has run, with the port that it got."""
        self.folder.mkdir(exist_ok=True)
        settings = {
            "teleport": {"data_dir": str(self.folder / "data"), "nodename": "auth1"},
            "auth_service": {
                "listen_addr": f"127.0.0.1:{self.port}",
                "cluster_name": CLUSTER,
                "tokens": [f"node,proxy:{STATIC_TOKEN}"],
            },
            "proxy_service": {"enabled": "no"},
            "ssh_service": {"enabled": "no"},
        }
        self.config.touch(mode=0o600)
        self.config.write_text(yaml.safe_dump(settings))

    async def start(self) -> None:
        self.write()
        self._service = AuthService(the_reactor, load(self.config, {}))
        self._service.startService()
        await self._service.started
        self.port = self._service.port
        self.write()

    async def stop(self) -> None:
        if self._service is not None:
            service, self._service = self._service, None
            await service.stopService()

    async def tctl(self, *words: str) -> Answer:
        """What a command answers on this host."""
        return await self.elsewhere("-c", str(self.config), *words)

    async def elsewhere(self, *words: str) -> Answer:
        """What a command answers wherever its flags lead to."""
        arguments = parse(words)
        found = reach.find(arguments.config, arguments.auth_server or (), arguments.identity)
        return await execute(the_reactor, found, arguments)

    async def join(self, server: Server, stays: bool = True) -> None:
        """A host joins, beats once, and says goodbye if it does not stay."""
        client = await self.joined(server)
        await client.beat(server.kind, Heartbeat("instance", server))
        if not stays:
            await client.goodbye(server.kind, server.name, "instance")
        await client.close()

    async def joined(self, server: Server) -> AuthClient:
        """What a host calls auth with that has just joined."""
        role = server.kind.capitalize()
        known = reach.find(self.config, (), None)
        assert known.identity is not None
        public = client_options(None, known.identity.authorities[1].tls_certificates)
        client = AuthClient(the_reactor, known.addresses, public)
        request = JoinRequest(
            host_uuid=server.name,
            node_name=server.hostname,
            role=role,
            public_tls_key=keys.public_pem(TLS_KEY.public_key()),
            public_ssh_key=keys.public_line(keys.public_blob(SSH_KEY.public_key())),
            token=STATIC_TOKEN,
        )
        answer = await client.register(request)
        client.use_identity(identity_of(answer, request, keys.ssh_private_pem(SSH_KEY), keys.private_pem(TLS_KEY)))
        return client


class AuthHostTestCase(TestCase):
    """Tests with an auth service that runs when they begin."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.err = io.StringIO()
        self.patch(sys, "stderr", self.err)
        self.host = AuthHost(Path(self.mktemp()).absolute())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.host.stop()))
        await self.host.start()

    async def tctl(self, *words: str, form: str = "text") -> str:
        """What a command prints on the auth host."""
        answer = await self.host.tctl(*words)
        answer.write_files()
        return answer.render(form)
