"""Runs a command on another host: ``python examples/ssh_run.py alice@web1:22 uname -a``.

Hosts are believed as ``~/.ssh/known_hosts`` says, and the keys are the agent's. The exit status is the command's.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint

from teleport_conch.errors import TeleportError
from teleport_conch.ssh.client.agent_client import connect_agent
from teleport_conch.ssh.client.auth import Credentials
from teleport_conch.ssh.client.connection import connect
from teleport_conch.ssh.client.host_offer import HostName
from teleport_conch.ssh.client.known_hosts import KnownHosts, KnownHostsVerifier
from teleport_conch.ssh.client.transport import ClientOptions


async def run(reactor: Any, target: str, command: str) -> None:
    """Logs in, runs the command, and passes on what it says."""
    user, _, address = target.rpartition("@")
    host, _, port = address.partition(":")
    name = HostName(host, int(port or 22))
    agent = await connect_agent(reactor, UNIXClientEndpoint(reactor, os.environ["SSH_AUTH_SOCK"]))
    known = KnownHosts.parse(Path("~/.ssh/known_hosts").expanduser().read_text())
    credentials = Credentials(user, await agent.identities(), banner=sys.stderr.write)
    options = ClientOptions(name, credentials, KnownHostsVerifier(known, time.time))
    client = await connect(reactor, HostnameEndpoint(reactor, name.host, name.port), options)
    done = await client.run(command)
    client.close()
    await client.ended()
    sys.stdout.buffer.write(done.out)
    sys.stderr.buffer.write(done.err)
    raise SystemExit(255 if done.ending.status is None else done.ending.status)


async def main(reactor: Any, target: str, *words: str) -> None:
    """Every failure is a sentence."""
    try:
        await run(reactor, target, " ".join(words))
    except TeleportError as problem:
        raise SystemExit(problem.sentence) from None


if __name__ == "__main__":
    task.react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
