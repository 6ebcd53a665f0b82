"""The pages of ``docs/protocol`` say the numbers that the code has: a specification that drifts is worse than none."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import proxy_protocol
from teleport_conch.audit import recording
from teleport_conch.certs import keys
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.names import PROXY_SERVER_NAME, SERVER_NAME
from teleport_conch.https import limits as https
from teleport_conch.https.client_hello import MAX_HELLO_BYTES, MAX_RECORDS
from teleport_conch.proxy_protocol import Believer, HeaderRefused, encode, header_length
from teleport_conch.ssh.factory import LOGIN_GRACE_S
from teleport_conch.wire import Reader

PAGES = Path(__file__).parents[1] / "docs" / "protocol"
NODE = "11111111-2222-4333-8444-555555555555"
NONCE = b"n" * proxy_protocol.NONCE_BYTES
NOW = 1_600_000_000.0


def page(name: str) -> str:
    return (PAGES / f"{name}.rst").read_text(encoding="utf-8")


def block(text: str, heading: str, number: int = 0) -> list[list[str]]:
    """The fields of a literal block below a heading: type and what follows it, a line each."""
    below = text.partition(f"\n{heading}\n")[2]
    blocks = re.findall(r"::\n\n((?:    .*\n)+)", below)
    return [line.split(None, 1) for line in blocks[number].splitlines()]


class WebPortTests(SynchronousTestCase):
    """``web-port.rst`` against the rooms ``https`` and ``proxy``."""

    def test_numbers(self) -> None:
        """Names, sizes and times."""
        words = " ".join(page("web-port").split())
        for sentence in (
            f"``{SERVER_NAME}`` The bytes go to an auth server",
            f"``{PROXY_SERVER_NAME}`` TLS ends here, with the proxy's own host certificate",
            f"It has at most {MAX_HELLO_BYTES} bytes, in at most {MAX_RECORDS} records",
            f"A connection has {https.PEEK_S:g} s to send it",
            f"At most {https.MAX_PEEKING} connections wait for it at one time",
            f"and {https.MAX_PEEKING_PER_ADDRESS} from one address",
        ):
            self.assertIn(sentence, words)


class ClientAddressTests(SynchronousTestCase):
    """``client-address.rst`` against :mod:`teleport_conch.proxy_protocol`."""

    def setUp(self) -> None:
        self.page = page("client-address")
        self.words = " ".join(self.page.split())

    def header(self, client: tuple[str, int] = ("192.0.2.7", 4711)) -> bytes:
        authority = Authority.generate("host", "example.com", NOW, lambda count: b"\7" * count)
        self.authorities = authority.public().ssh_keys
        key = keys.generate_ssh_key()
        certificate = authority.sign_host_ssh(
            keys.public_blob(key.public_key()),
            host_uuid=NODE,
            node_name="proxy1",
            cluster_name="example.com",
            principals=(),
            role="Proxy",
            ttl_s=3600.0,
            now=NOW,
        )
        self.signed = b""

        def sign(data: bytes) -> bytes:
            self.signed = data
            signature = key.sign(data)
            return b"\0\0\0\x0bssh-ed25519" + len(signature).to_bytes(4, "big") + signature

        return encode(client, ("192.0.2.8", 3022), NODE, certificate, sign, NOW, NONCE)

    def test_constants(self) -> None:
        """Magic, types, versions, the purpose and the limits are those of the code."""
        header = block(self.page, "1. The header")
        self.assertEqual(bytes.fromhex(header[0][1]), proxy_protocol.MAGIC)
        self.assertIn(
            ["byte", f"0x{proxy_protocol.FIELD_TYPE:02X}"], [[kind, rest.split()[0]] for kind, rest in header]
        )
        value = block(self.page, "2. The value of the field")
        self.assertEqual(value[0][1].split()[0], str(proxy_protocol.FIELD_VERSION))
        self.assertIn(f"{proxy_protocol.NONCE_BYTES} random bytes", value[2][1])
        signed = block(self.page, "2. The value of the field", 1)
        self.assertEqual(signed[0], ["string", f'"{proxy_protocol.PURPOSE}"'])
        for sentence in (
            f"A header has at most {proxy_protocol.MAX_HEADER_BYTES} bytes.",
            f"longer than {proxy_protocol.MAX_HEADER_BYTES} bytes",
            f"``time`` is more than {proxy_protocol.MAX_AGE_S:g} s off",
            f"remembers nonces for {2 * proxy_protocol.MAX_AGE_S:g} s",
            f"at most {proxy_protocol.MAX_NONCES} of them",
            f"the field's version is not {proxy_protocol.FIELD_VERSION}",
            f"no field of the type 0x{proxy_protocol.FIELD_TYPE:02X} first",
            f"``nonce`` has not {proxy_protocol.NONCE_BYTES} bytes",
            f"``{HeaderRefused.code}``",
            f"the time that a login may take ({LOGIN_GRACE_S:g} s)",
        ):
            self.assertIn(sentence, self.words)

    def test_header_is_as_drawn(self) -> None:
        """A header of ours, read field by field as the page draws it, has nothing more and nothing less."""
        for client, family, size in ((("192.0.2.7", 4711), "0x11", 4), (("2001:db8::7", 4711), "0x21", 16)):
            header = self.header(client)
            self.assertEqual(header_length(header), len(header))
            reader = Reader(header)
            self.assertEqual(reader.take(12), proxy_protocol.MAGIC)
            self.assertEqual(f"0x{reader.byte():02x}", "0x21")
            self.assertEqual(f"0x{reader.byte():02x}", family)
            self.assertIn(f"{family}: TCP over IPv{4 if size == 4 else 6}", self.words)
            self.assertEqual(int.from_bytes(reader.take(2), "big"), len(header) - 16)
            addresses = reader.take(2 * size + 4)
            self.assertEqual(int.from_bytes(addresses[2 * size : 2 * size + 2], "big"), 4711)
            self.assertEqual(reader.byte(), proxy_protocol.FIELD_TYPE)
            value = Reader(reader.take(int.from_bytes(reader.take(2), "big")))
            reader.end()
            drawn = [kind for kind, _ in block(self.page, "2. The value of the field")]
            self.assertEqual(drawn, ["byte", "uint64", "string", "string", "string", "string"])
            self.assertEqual([value.byte(), value.uint64(), value.string(), value.text()], [1, int(NOW), NONCE, NODE])
            value.string()
            value.string()
            value.end()
            signed = Reader(self.signed)
            self.assertEqual(signed.text(), proxy_protocol.PURPOSE)
            self.assertEqual(signed.string(), bytes.fromhex(family[2:]) + addresses)
            self.assertEqual([signed.uint64(), signed.string(), signed.text()], [int(NOW), NONCE, NODE])
            signed.end()

    def test_time(self) -> None:
        """A header is believed up to the age that the page says, once, and by the node that it names."""
        header = self.header()
        limit = proxy_protocol.MAX_AGE_S
        believer = Believer(NODE, lambda: self.authorities)
        refused = self.assertRaises(HeaderRefused, believer.believe, header, NOW + limit + 1)
        self.assertIn("its time is 61 s behind ours", refused.sentence)
        self.assertEqual(believer.believe(header, NOW + limit).client, ("192.0.2.7", 4711))
        again = self.assertRaises(HeaderRefused, believer.believe, header, NOW + limit)
        self.assertIn("it was used before", again.sentence)
        other = Believer(NODE.replace("1", "9"), lambda: self.authorities)
        self.assertIn("meant for another server", self.assertRaises(HeaderRefused, other.believe, header, NOW).sentence)


class RecordingTests(SynchronousTestCase):
    """``recordings.rst`` against :mod:`teleport_conch.audit.recording`."""

    def test_numbers(self) -> None:
        words = " ".join(page("recordings").split())
        for sentence in (
            f"A slice has at most {recording.MAX_SLICE_BYTES} bytes",
            f"before they are compressed at most {recording.MAX_SLICE_RAW};",
            f"there are at most {recording.MAX_SLICE_RECORDS} of them.",
            f"A recording has at most {recording.MAX_SLICES} slices, and at most {recording.MAX_RECORDING_BYTES} bytes",
            f"a JSON object of at most {recording.MAX_JSON_BYTES} bytes",
        ):
            self.assertIn(sentence, words)

    def test_kinds(self) -> None:
        """The bytes that stand for the kinds of records."""
        kinds = ", ".join(f"{kind.value:x}: {kind.name.lower()}" for kind in recording.Kind)
        self.assertIn(
            ["byte", f"kind                         {kinds}\n".strip()],
            block(page("recordings"), "2. Records\n----------"),
        )

    def test_slice(self) -> None:
        """Each field of a slice is where the page says."""
        slice_ = recording.Slice(
            7, b"p" * recording.DIGEST_BYTES, (recording.Record(recording.Kind.OUTPUT, 9, b"x"),), True
        )
        encoded = slice_.encode()
        reader = Reader(encoded)
        magic = bytes.fromhex(block(page("recordings"), "1. Slices\n---------")[0][1][:23])
        self.assertEqual(reader.take(8), magic)
        self.assertEqual((reader.uint32(), reader.uint32()), (7, len(encoded)))
        self.assertEqual((reader.take(32), reader.byte()), (b"p" * 32, 1))
        records = Reader(zlib.decompress(reader.take(len(encoded) - recording.HEADER_BYTES)))
        self.assertEqual((records.byte(), records.uint64(), records.string()), (0x6F, 9, b"x"))
