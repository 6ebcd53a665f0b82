"""A server in which people talk to a program, not to a shell: whatever they send comes back in capitals.

``python examples/shouting.py tcp:2022:interface=127.0.0.1 HOST_KEY HOST_KEY-cert.pub USER_CA.pub`` lets in whoever has
a certificate of that authority: ``echo hello | ssh -p 2022 -i KEY localhost``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString

from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.ssh.factory import ServerFactory
from teleport_conch.ssh.login.certificate_policy import CertificatePolicy
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.session.channel import Session, SessionChannel, SessionStart
from teleport_conch.ssh.session.inner_session import InnerSession
from teleport_conch.ssh.session.owners import OpensSessions
from teleport_conch.ssh.transport.hostkeys import host_keys


class Shouting(InnerSession):
    """What a guest talks to."""

    def input_received(self, data: bytes) -> None:
        self.channel.write(data.upper())
        self.used(len(data))

    def input_ended(self) -> None:
        self.channel.finish(ExitStatus(code=0))


class Guest(OpensSessions):
    """Whoever has logged in."""

    async def start(self, request: SessionStart, channel: SessionChannel) -> Session:
        return Shouting(channel)


async def main(reactor: Any, endpoint: str, key: str, certificate: str, authority: str) -> None:
    """Serves until it is stopped."""
    trusted = keys.blob_of_line(Path(authority).read_text())
    policy = CertificatePolicy([trusted], time.time, lambda claim: Guest())
    own = host_keys(Path(key).read_text(), SSHCertificate.from_line(Path(certificate).read_text()))
    await serverFromString(reactor, endpoint).listen(ServerFactory(reactor, policy, own))
    await Deferred()


if __name__ == "__main__":
    task.react(lambda *arguments: Deferred.fromCoroutine(main(*arguments)), sys.argv[1:])
