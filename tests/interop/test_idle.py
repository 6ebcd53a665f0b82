"""Who connects and says nothing does not keep the connection. Long."""

from __future__ import annotations

import os
import socket
import unittest
from concurrent.futures import ThreadPoolExecutor

from tests.interop.case import InteropTests
from tests.interop.services import LOCALHOST
from tests.interop.shared import quiet_cluster

LONG = os.environ.get("TELEPORT_CONCH_LONG") == "1"
#: Time to log in is 30 s at nodes and proxies, and less for TLS at auth.
CLOSED_WITHIN_S = 60.0


class IdleTests(InteropTests):
    def test_silence_ends(self) -> None:
        """At the node, the proxy and auth, whether nothing is said or only a beginning."""
        if not LONG:
            raise unittest.SkipTest("long: TELEPORT_CONCH_LONG=1 runs it")
        cluster = quiet_cluster()
        ssh = (b"", b"SSH-2.0-", b"SSH-2.0-Silent\r\n")
        wanted = [(port, said) for port in (cluster.nodes["web1"].port, cluster.proxy_port) for said in ssh]
        wanted += [(cluster.auth_port, said) for said in (b"", b"\x16\x03\x01\x02\x00\x01")]
        with ThreadPoolExecutor(len(wanted)) as pool:
            self.assertEqual(list(pool.map(self.is_closed, *zip(*wanted, strict=True))), [True] * len(wanted))

    def is_closed(self, port: int, said: bytes) -> bool:
        """Whether the server ends a connection on which so much is said and no more."""
        with socket.create_connection((LOCALHOST, port), CLOSED_WITHIN_S) as client:
            client.sendall(said)
            try:
                while client.recv(65536):
                    pass
            except ConnectionError:
                return True
            except TimeoutError:
                return False
        return True
