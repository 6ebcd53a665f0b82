"""``docs/protocol/algorithms.rst`` and ``extensions.rst`` say what is spoken, in the order of the code."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import teleport_conch
from teleport_conch.ssh.client.host_offer import CERTIFICATE_ALGORITHMS, PLAIN_ALGORITHMS
from teleport_conch.ssh.server import ServerTransport
from teleport_conch.ssh.sftp import messages
from teleport_conch.ssh.transport import algorithms
from teleport_conch.ssh.transport.kex import HAS_MLKEM
from tests.ssh.in_memory import sample_host_keys

SOURCE = Path(teleport_conch.__file__).parent
PAGES = SOURCE.parent / "docs" / "protocol"
MLKEM = "mlkem768x25519-sha256"


def rows(caption: str) -> list[list[str]]:
    """The rows of one table of algorithms, with names as they are on the wire."""
    text = (PAGES / "algorithms.rst").read_text("utf-8")
    _, body, *_ = text.partition(f".. csv-table:: {caption}")[2].split("\n\n")
    found = list(csv.reader((line.strip() for line in body.splitlines()), skipinitialspace=True))
    return [[row[0].strip("`"), *row[1:]] for row in found if row[0].strip("`") != MLKEM or HAS_MLKEM]


class AlgorithmsTests(SynchronousTestCase):
    def check_table(self, caption: str, server: Sequence[bytes], client: Sequence[bytes]) -> None:
        for column, offered in ((1, server), (2, client)):
            told = [row[0] for row in rows(caption) if row[column] == "yes"]
            self.assertEqual(told, [name.decode() for name in offered], f"{caption}, column {column}")
        self.assertTrue(all(row[3] for row in rows(caption)), "each has a source")

    def test_key_exchange(self) -> None:
        self.check_table("Key exchange", ServerTransport.key_exchanges, algorithms.KEY_EXCHANGES)

    def test_packets(self) -> None:
        self.check_table("Ciphers", algorithms.CIPHERS, algorithms.CIPHERS)
        self.check_table("MACs", ServerTransport.macs, algorithms.MACS)
        self.check_table("Compression", algorithms.COMPRESSIONS, algorithms.COMPRESSIONS)

    def test_host_keys(self) -> None:
        self.check_table("Host keys", list(sample_host_keys()), (*CERTIFICATE_ALGORITHMS, *PLAIN_ALGORITHMS))

    def test_people(self) -> None:
        """In the order in which a server tells them; node and proxy take the certificates."""
        told = rows("Keys and certificates of people")
        self.assertEqual([row[0].encode() for row in told], algorithms.server_sig_algs().split(b","))
        certificates = [row[0].encode() for row in told if row[1] == "only"]
        self.assertEqual(certificates, list(algorithms.SIGNATURES_BY_ALGORITHM))


class ExtensionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told = set(re.findall(r"``([^`]+)``", (PAGES / "extensions.rst").read_text("utf-8")))
        pages = "".join((PAGES / f"{name}.rst").read_text("utf-8") for name in ("extensions", "algorithms"))
        self.everywhere = set(re.findall(r"``([^`]+)``", pages))

    def test_all_of_openssh(self) -> None:
        """Every name of OpenSSH's that the engine has in its source is on one of the two pages."""
        found = {
            name
            for path in (SOURCE / "ssh").rglob("*.py")
            for name in re.findall(r'b"([a-z0-9][a-z0-9-]+@openssh\.com)"', path.read_text("utf-8"), re.IGNORECASE)
        }
        named = {name for name in found if not name.startswith("ssh-rsa-cert-")}  # a type of blob, no algorithm
        self.assertEqual(named - self.everywhere, set())
        self.assertGreater(len(named), 20)

    def test_sftp(self) -> None:
        """So with those of SFTP."""
        self.assertLessEqual({name.decode() for name, _ in messages.EXTENSIONS}, self.told)
