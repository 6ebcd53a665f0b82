"""What a node believes of the client's address: only what a proxy of its cluster signed, for it, now, and once.

The number in the names of tests is that of the project's list of attacks.
"""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import proxy_protocol, wire
from teleport_conch.certs import keys
from teleport_conch.proxy_protocol import (
    MAGIC,
    MAX_AGE_S,
    MAX_HEADER_BYTES,
    Address,
    Believer,
    HeaderRefused,
    Voucher,
    header_length,
)
from teleport_conch.resources.joining import MAX_PRINCIPALS
from tests.certs import samples
from tests.certs.samples import NOW
from tests.proxy.samples import (
    CLIENT,
    NODE,
    NONCE,
    PROXY_UUID,
    header,
    host_authorities,
    host_certificate,
    proxy_certificate,
    sign_with,
)

FIXED_BYTES = 16
IPV4_BLOCK_BYTES = 12
FIELD_AT = FIXED_BYTES + IPV4_BLOCK_BYTES
VOUCHER_AT = FIELD_AT + 3
HEADER = header()

addresses = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))


def believer(node: str = NODE) -> Believer:
    return Believer(node, host_authorities)


def with_body(body: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    """A header with these bytes behind its length."""
    return MAGIC + bytes((command, family)) + len(body).to_bytes(2, "big") + body


def with_voucher(voucher: bytes, kind: int = 0xE0) -> bytes:
    """The header with another field."""
    block = HEADER[FIXED_BYTES:FIELD_AT]
    return with_body(block + bytes((kind,)) + len(voucher).to_bytes(2, "big") + voucher)


def voucher(
    version: int = 1,
    time: int = int(NOW),
    nonce: bytes = NONCE,
    node: str = NODE,
    certificate: bytes | None = None,
    signature: bytes | None = None,
) -> bytes:
    """The value of our field as the header of the samples has it, where nothing else is given."""
    reader = wire.Reader(HEADER[VOUCHER_AT:])
    reader.take(9)
    reader.string()
    reader.string()
    own_certificate, own_signature = reader.string(), reader.string()
    return b"".join(
        (
            wire.byte(version),
            wire.uint64(time),
            wire.string(nonce),
            wire.text(node),
            wire.string(own_certificate if certificate is None else certificate),
            wire.string(own_signature if signature is None else signature),
        )
    )


class BelievedTests(SynchronousTestCase):
    def test_believed(self) -> None:
        """The client's address, and the key id of the proxy that says so."""
        said = believer().believe(HEADER, NOW)
        self.assertEqual(said, Voucher(CLIENT, f"{PROXY_UUID}.{samples.CLUSTER}"))

    def test_bytes(self) -> None:
        """The addresses are where the PROXY protocol has them, and our field is as its document says."""
        self.assertEqual(
            HEADER[:FIELD_AT].hex(" ", 4),
            f"0d0a0d0a 000d0a51 5549540a 2111{len(HEADER) - FIXED_BYTES:04x} c0000207 0a000005 c3500bce",
        )
        self.assertEqual((HEADER[FIELD_AT], HEADER[VOUCHER_AT:]), (0xE0, voucher()))

    @settings(deadline=None, max_examples=50)
    @given(client=addresses, server=addresses)
    def test_any_address(self, client: Address, server: Address) -> None:
        """IPv4, IPv6 and a mixture of both are understood; a mapped address is the IPv4 address that it maps."""
        host = ipaddress.ip_address(client[0])
        mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
        said = believer().believe(header(client, server), NOW)
        self.assertEqual(said.client, (str(mapped or host), client[1]))

    def test_families(self) -> None:
        """One IPv6 address makes both of them IPv6."""
        for client, server, family, expected in (
            ("192.0.2.7", "10.0.0.5", 0x11, "192.0.2.7"),
            ("2001:db8::7", "2001:db8::5", 0x21, "2001:db8::7"),
            ("192.0.2.7", "2001:db8::5", 0x21, "192.0.2.7"),
            ("2001:db8::7", "10.0.0.5", 0x21, "2001:db8::7"),
            ("fe80::1%eth0", "10.0.0.5", 0x21, "fe80::1"),
            ("::ffff:192.0.2.7", "10.0.0.5", 0x21, "192.0.2.7"),
        ):
            sent = header((client, 1), (server, 2))
            self.assertEqual((sent[13], believer().believe(sent, NOW).client), (family, (expected, 1)))

    def test_clocks(self) -> None:
        """Clocks may differ by a minute, either way."""
        for skew in (-MAX_AGE_S, MAX_AGE_S):
            self.assertEqual(believer().believe(HEADER, NOW + skew).client, CLIENT)

    def test_once_for_each_connection(self) -> None:
        """Every connection has a nonce of its own, and all of them are believed."""
        one = believer()
        for number in range(5):
            self.assertEqual(one.believe(header(nonce=bytes(15) + bytes((number,))), NOW).client, CLIENT)


class RefusedTests(SynchronousTestCase):
    def refused(self, sent: bytes, why: str, now: float = NOW, by: Believer | None = None) -> None:
        refusal = self.assertRaises(HeaderRefused, (by or believer()).believe, sent, now)
        self.assertEqual(refusal.sentence, f"A PROXY header was refused: {why}.")
        self.assertEqual(refusal.code, "PROXY_HEADER_REFUSED")

    def test_103_another_key(self) -> None:
        """Who has a proxy's certificate, and not its key, can sign nothing."""
        other = keys.generate_ssh_key()
        self.refused(header(sign=sign_with(other)), "it does not fit the key")

    def test_103_another_algorithm(self) -> None:
        """A signature has to be of the key's own algorithm."""
        why = "'ssh-rsa' is not accepted from a key of the type ssh-ed25519"
        self.refused(header(sign=lambda data: wire.text("ssh-rsa") + wire.string(data[:64])), why)

    def test_103_a_node(self) -> None:
        """A node, or any other host, has a host certificate and a key, too, and says nothing about clients."""
        for role in ("Node", "Auth", "Admin"):
            self.refused(header(certificate=host_certificate(role)), "it is signed by a host that is no proxy")
        plain = host_certificate("Proxy", extensions=())
        self.refused(header(certificate=plain), "it is signed by a host that is no proxy")

    def test_103_a_user(self) -> None:
        """A person's certificate is none of a host."""
        sent = header(certificate=samples.user_certificate())
        self.refused(sent, "A host certificate is due, and this is a user certificate")

    def test_103_a_user_who_calls_himself_a_proxy(self) -> None:
        """Nor does it become one by what it says of itself."""
        said = host_certificate("Proxy").extensions
        sent = header(certificate=samples.user_certificate(extensions=said))
        self.refused(sent, "A host certificate is due, and this is a user certificate")

    def test_103_a_foreign_authority(self) -> None:
        """A proxy of another cluster, or one that our user authority made."""
        for authority in (samples.OTHER_USER_CA, samples.USER_CA):
            foreign = authority.ssh_keys[0].sign(proxy_certificate())
            who = f"'{PROXY_UUID}.{samples.CLUSTER}'"
            why = f"The certificate of {who} is signed by an authority that is not trusted here"
            self.refused(header(certificate=foreign), why)

    def test_103_times_of_the_certificate(self) -> None:
        """A proxy whose certificate has ended, or has not begun, is believed no more, or not yet."""
        ended = host_certificate("Proxy", valid_before=int(NOW))
        why = "The certificate expired 0 seconds ago; get a new one, or compare the clocks"
        self.refused(header(certificate=ended), why)
        later = host_certificate("Proxy", valid_after=int(NOW) + 5)
        self.refused(header(certificate=later), "The certificate becomes valid in 5 seconds; compare the clocks")

    def test_103_an_altered_certificate(self) -> None:
        """A certificate that somebody changed is nobody's."""
        altered = samples.changed(host_certificate("Node"), extensions=proxy_certificate().extensions)
        self.refused(header(certificate=altered), "The certificate's signature is wrong: it does not fit the key")
        self.refused(
            with_voucher(voucher(certificate=b"")), "This is not a certificate: 4 bytes are due and 0 are left"
        )

    def test_103_old(self) -> None:
        """A header is good for a minute, and does not come from the future."""
        self.refused(HEADER, "its time is 61 s behind ours; compare the clocks", now=NOW + 61)
        self.refused(HEADER, "its time is 61 s ahead of ours; compare the clocks", now=NOW - 61)

    def test_103_replayed(self) -> None:
        """It is believed once, however often it is sent, and also when the clock has gone on."""
        one = believer()
        one.believe(HEADER, NOW)
        for later_s in (0, 1, MAX_AGE_S):
            self.refused(HEADER, "it was used before", now=NOW + later_s, by=one)

    def test_103_replayed_from_a_clock_that_is_ahead(self) -> None:
        """A header of a fast clock is good for two minutes by ours, and is remembered for as long."""
        one = believer()
        early = header(now=NOW + MAX_AGE_S)
        one.believe(early, NOW)
        self.refused(early, "it was used before", now=NOW + 2 * MAX_AGE_S, by=one)

    def test_103_nonces(self) -> None:
        """A nonce has 16 bytes."""
        for nonce in (b"", bytes(15), bytes(17)):
            self.refused(header(nonce=nonce), "its nonce is not 16 bytes long")

    def test_103_another_node(self) -> None:
        """What was said to one node is not said to another, whoever passes it on."""
        self.refused(header(node=PROXY_UUID), "it is meant for another server")
        self.refused(HEADER, "it is meant for another server", by=believer(PROXY_UUID))

    def test_103_altered(self) -> None:
        """Addresses, time, nonce and node are signed, and so is none of them another."""
        other_address = HEADER[:FIXED_BYTES] + b"\x7f" + HEADER[FIXED_BYTES + 1 :]
        for altered in (
            other_address,
            with_voucher(voucher(time=int(NOW) + 1)),
            with_voucher(voucher(nonce=bytes(16))),
        ):
            self.refused(altered, "it does not fit the key")
        self.refused(with_voucher(voucher(node=PROXY_UUID)), "it does not fit the key", by=believer(PROXY_UUID))

    def test_103_another_family(self) -> None:
        """The same bytes cannot be read as addresses of the other family."""
        ours = header(("2001:db8::7", 1), ("2001:db8::5", 2))
        for sent in (ours[:13] + b"\x11" + ours[14:], HEADER[:13] + b"\x21" + HEADER[14:]):
            self.assertRaises(HeaderRefused, believer().believe, sent, NOW)

    def test_103_every_byte(self) -> None:
        """No byte of a header can be another one."""
        for at, byte in enumerate(HEADER):
            altered = HEADER[:at] + bytes((byte ^ 1,)) + HEADER[at + 1 :]
            self.assertRaises(HeaderRefused, believer().believe, altered, NOW)

    def test_103_truncated(self) -> None:
        """A header that ends anywhere too early is none, also where its length says that it ends there."""
        for length in range(len(HEADER)):
            self.assertRaises(HeaderRefused, believer().believe, HEADER[:length], NOW)
        for length in range(FIXED_BYTES, len(HEADER)):
            self.assertRaises(HeaderRefused, believer().believe, with_body(HEADER[FIXED_BYTES:length]), NOW)
        for length in range(len(voucher())):
            self.assertRaises(HeaderRefused, believer().believe, with_voucher(voucher()[:length]), NOW)
        self.refused(HEADER[:-1], "its length is wrong")

    def test_103_trailing(self) -> None:
        """Nothing follows that nobody signed: not in the header, not in its field, and not behind it."""
        noop = b"\x04\0\0"
        self.refused(with_body(HEADER[FIXED_BYTES:] + noop), "3 bytes too many")
        self.refused(with_voucher(voucher() + b"!"), "1 bytes too many")
        self.refused(HEADER + b"!", "its length is wrong")

    def test_103_local(self) -> None:
        """The command LOCAL has no client to speak of; nor is there a version 3."""
        for command in (0x20, 0x11, 0x31, 0x22):
            self.refused(with_body(HEADER[FIXED_BYTES:], command=command), "it is of another version or kind")

    def test_103_other_families(self) -> None:
        """UDP, Unix sockets, and what is not specified."""
        for family in (0x00, 0x12, 0x22, 0x31, 0x32):
            self.refused(with_body(HEADER[FIXED_BYTES:], family=family), "it is not about TCP")

    def test_103_not_signed(self) -> None:
        """Headers as others send them: without a field, with other fields, and with ours behind those."""
        block = HEADER[FIXED_BYTES:FIELD_AT]
        noop = b"\x04\0\0"
        for fields in (b"", noop, noop + noop, noop + HEADER[FIELD_AT:]):
            self.refused(with_body(block + fields), "it is not signed")
        self.refused(with_voucher(voucher(), kind=0xE1), "it is not signed")

    def test_103_version_of_the_field(self) -> None:
        """A later version may mean something else by the same bytes."""
        for version in (0, 2, 255):
            self.refused(with_voucher(voucher(version=version)), "its version is not known here")

    def test_103_version_1(self) -> None:
        """The PROXY protocol's first version is text that nobody signs."""
        self.refused(b"PROXY TCP4 192.0.2.7 10.0.0.5 50000 3022\r\n", "it is of another version or kind")

    @settings(deadline=None)
    @given(start=st.sampled_from((b"", MAGIC, HEADER[:FIELD_AT], HEADER[:VOUCHER_AT])), rest=st.binary(max_size=300))
    def test_103_anything(self, start: bytes, rest: bytes) -> None:
        """Whatever is sent, the answer is a refusal and nothing else."""
        self.assertRaises(HeaderRefused, believer().believe, start + rest, NOW)


class HeaderLengthTests(SynchronousTestCase):
    def test_every_prefix(self) -> None:
        """Sixteen bytes decide, however they come."""
        for length in range(len(HEADER) + 1):
            expected = None if length < FIXED_BYTES else len(HEADER)
            self.assertEqual(header_length(HEADER[:length]), expected)
        self.assertEqual(header_length(HEADER + b"SSH-2.0-client\r\n"), len(HEADER))

    def test_none(self) -> None:
        """What cannot begin a header is a client's own, from its first byte that differs."""
        for start in (
            b"S",
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.5 50000 3022\r\n",
            b"\r\n\r\n\0\r\nQUIT!",
        ):
            self.assertEqual(header_length(start), 0)
        for at in range(len(MAGIC)):
            self.assertEqual(header_length(MAGIC[:at] + b"!"), 0)

    def test_too_long(self) -> None:
        """The limit is told before anything is kept."""
        start = MAGIC + b"\x21\x11"
        self.assertEqual(header_length(start + (MAX_HEADER_BYTES - FIXED_BYTES).to_bytes(2, "big")), MAX_HEADER_BYTES)
        for length in (MAX_HEADER_BYTES - FIXED_BYTES + 1, 0xFFFF):
            refusal = self.assertRaises(HeaderRefused, header_length, start + length.to_bytes(2, "big"))
            said = f"A PROXY header of {length + FIXED_BYTES} bytes was sent, where {MAX_HEADER_BYTES} is the limit."
            self.assertEqual(refusal.sentence, said)

    def test_longest_of_ours(self) -> None:
        """A proxy with as many names as it may ask for, of 80 letters each, still fits."""
        many = host_certificate("Proxy", principals=tuple(f"{number:080}" for number in range(MAX_PRINCIPALS)))
        sent = header(("2001:db8::7", 1), ("2001:db8::5", 2), certificate=many)
        self.assertLess(len(sent), MAX_HEADER_BYTES)


class NonceTests(SynchronousTestCase):
    """What a node remembers, and for how long."""

    def setUp(self) -> None:
        self.one = believer()

    def believe(self, number: int, now: float = NOW) -> None:
        self.one.believe(header(nonce=number.to_bytes(16, "big"), now=now), now)

    def is_known(self, number: int) -> bool:
        try:
            self.believe(number)
        except HeaderRefused:
            return True
        return False

    def test_bounded(self) -> None:
        """Beyond the bound the oldest is forgotten, for one that is new and for nothing else."""
        self.patch(proxy_protocol, "MAX_NONCES", 4)
        for number in range(6):
            self.believe(number)
        self.assertEqual([self.is_known(number) for number in (2, 3, 4, 5)], [True] * 4)
        self.assertFalse(self.is_known(0))
        self.assertEqual([self.is_known(number) for number in (3, 4, 5)], [True] * 3)

    def test_forgotten_in_time(self) -> None:
        """After two minutes none is of any use, and none is kept."""
        for number in range(10):
            self.believe(number)
        self.believe(10, NOW + 2 * MAX_AGE_S + 1)
        self.assertEqual(len(self.one._nonces), 1)

    def test_forged_headers_fill_nothing(self) -> None:
        """Only what a proxy has signed is remembered: nobody else makes a node forget."""
        other = keys.generate_ssh_key()
        for number in range(10):
            forged = header(nonce=number.to_bytes(16, "big"), sign=sign_with(other))
            self.assertRaises(HeaderRefused, self.one.believe, forged, NOW)
        self.assertEqual(len(self.one._nonces), 0)
        self.believe(3)
