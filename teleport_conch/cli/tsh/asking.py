"""Asks a proxy where it is reached by SSH: a program of its own, as a reactor runs once only, and is needed afterwards.

``python -m teleport_conch.cli.tsh.asking HOST:PORT`` reads the authorities of the cluster from standard input, as PEM.
"""

from __future__ import annotations

import re
import sys
from typing import cast

from twisted.internet.interfaces import IReactorCore, IReactorTime

from teleport_conch.certs.names import PROXY_SERVER_NAME
from teleport_conch.cli.edge import guarded
from teleport_conch.cli.logs import begin_log
from teleport_conch.cli.running import run_to_end
from teleport_conch.client.tls import ServerPolicy
from teleport_conch.client.web import ProxyFacts, ProxyWeb

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)


def main() -> None:
    """Prints two lines: the address that the proxy tells others, and the one on which it listens."""
    from twisted.internet import reactor

    begin_log()
    policy = ServerPolicy(tuple(_PEM.findall(sys.stdin.read())), name=PROXY_SERVER_NAME)
    web = ProxyWeb(cast(IReactorTime, reactor), sys.argv[1], policy)
    facts = run_to_end(cast(IReactorCore, reactor), lambda: _facts(web))
    print(facts.ssh_public_addr, facts.ssh_listen_addr, sep="\n")


async def _facts(web: ProxyWeb) -> ProxyFacts:
    try:
        return await web.ping()
    finally:
        await web.close()


if __name__ == "__main__":
    sys.exit(guarded(main, debug=False))
