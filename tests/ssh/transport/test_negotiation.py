"""SSH_MSG_KEXINIT: read, written, cut off, and what follows from two of them."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.ssh.transport.negotiation import (
    EXT_INFO_CLIENT,
    EXT_INFO_SERVER,
    STRICT_CLIENT,
    STRICT_SERVER,
    EachWay,
    KexInit,
    Names,
    NoCommonAlgorithm,
    agree,
)

CLIENT = KexInit(
    cookie=b"c" * 16,
    kex=(b"kex-new", b"kex-old", EXT_INFO_CLIENT, STRICT_CLIENT),
    host_key=(b"cert", b"plain"),
    ciphers=EachWay((b"aes128-gcm@openssh.com", b"aes128-ctr"), (b"aes128-ctr", b"aes256-ctr")),
    macs=EachWay((b"mac-a", b"mac-b"), (b"mac-a", b"mac-b")),
    compressions=EachWay((b"none",), (b"zlib@openssh.com", b"none")),
)
SERVER = KexInit(
    cookie=b"s" * 16,
    kex=(b"kex-old", b"kex-new", STRICT_SERVER, EXT_INFO_SERVER),
    host_key=(b"plain", b"cert"),
    ciphers=EachWay((b"aes128-ctr", b"aes128-gcm@openssh.com"), (b"aes256-ctr", b"aes128-ctr")),
    macs=EachWay((b"mac-b",), (b"mac-b",)),
    compressions=EachWay((b"none",), (b"none", b"zlib@openssh.com")),
)

letters = "".join(map(chr, range(0x21, 0x7F))).replace(",", "")
names = st.lists(st.text(letters, min_size=1, max_size=64).map(str.encode), max_size=4).map(tuple)
both = st.builds(EachWay, names, names)
offers = st.builds(KexInit, st.binary(min_size=16, max_size=16), names, names, both, both, both, st.booleans())


def payload(kex: bytes = b"a", tail: bytes = b"\0" * 5) -> bytes:
    return b"\x14" + b"c" * 16 + wire.string(kex) + wire.string(b"") * 9 + tail


class KexInitTests(SynchronousTestCase):
    @given(offers)
    def test_round_trip(self, offer: KexInit) -> None:
        """What was written is what is read."""
        self.assertEqual(KexInit.parse(offer.to_payload()), offer)

    def test_form(self) -> None:
        """The message as the RFC writes it."""
        offer = KexInit(b"c" * 16, (b"a", b"b"), (), EachWay((), ()), EachWay((), ()), EachWay((), ()), True)
        self.assertEqual(offer.to_payload(), payload(b"a,b", b"\1" + bytes(4)))

    def test_languages_are_passed_over(self) -> None:
        """Languages are read and not kept, and so is the number that is reserved."""
        said = b"\x14" + b"c" * 16 + wire.string(b"") * 8 + wire.string(b"de,fr") * 2 + b"\0\0\0\0\7"
        self.assertEqual(KexInit.parse(said).to_payload(), b"\x14" + b"c" * 16 + bytes(40) + bytes(5))

    def test_long_ones(self) -> None:
        """Offers that are too long to be remembered are read all the same."""
        offer = evolve(CLIENT, kex=tuple(b"%060d" % number for number in range(100)))
        self.assertEqual(KexInit.parse(offer.to_payload()), offer)

    def test_cookies(self) -> None:
        """Offers that differ in their cookies only are told apart."""
        other = evolve(CLIENT, cookie=b"x" * 16)
        self.assertEqual([KexInit.parse(each.to_payload()).cookie for each in (CLIENT, other)], [b"c" * 16, b"x" * 16])


class T18Truncated(SynchronousTestCase):
    """Threat 18: an offer that is cut off, or goes on behind its end, is no offer."""

    @given(offers, st.data())
    def test_cut_off(self, offer: KexInit, data: st.DataObject) -> None:
        """Cut anywhere, it is refused."""
        whole = offer.to_payload()
        at = data.draw(st.integers(0, len(whole) - 1))
        self.assertRaises(wire.WireError, KexInit.parse, whole[:at])

    @given(st.binary(min_size=1, max_size=10))
    def test_trailing(self, more: bytes) -> None:
        """Followed by anything, it is refused."""
        error = self.assertRaises(wire.WireError, KexInit.parse, CLIENT.to_payload() + more)
        self.assertEqual(str(error), f"{len(more)} bytes too many")

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever arrives, there is an offer or one kind of refusal."""
        try:
            KexInit.parse(b"\x14" + data)
        except wire.WireError:
            return

    def test_refusals(self) -> None:
        """Each bound and rule of the lists has its sentence."""
        for said, sentence in (
            (b"\x15" + payload()[1:], "not an offer of algorithms"),
            (payload(b"a,,b"), "a name that is empty or longer than 64 bytes"),
            (payload(b","), "a name that is empty or longer than 64 bytes"),
            (payload(b"n" * 65), "a name that is empty or longer than 64 bytes"),
            (payload(b"a b"), "a name that is not printable ASCII"),
            (payload(b"\xff"), "a name that is not printable ASCII"),
            (payload(b"a\n"), "a name that is not printable ASCII"),
            (payload(b",".join([b"a"] * 257)), "257 names in a list, where 256 are the limit"),
            (payload(b"a," * 5000), "a string of 10000 bytes, where 8192 is the limit"),
        ):
            self.assertEqual(str(self.assertRaises(wire.WireError, KexInit.parse, said)), sentence)


class AgreeTests(SynchronousTestCase):
    def test_the_client_chooses(self) -> None:
        """In each list the client's order decides, for each direction on its own; a GCM cipher takes no MAC."""
        agreed = agree(CLIENT, SERVER, first=True)
        self.assertEqual((agreed.kex, agreed.host_key), (b"kex-new", b"cert"))
        self.assertEqual(agreed.cipher, EachWay(b"aes128-gcm@openssh.com", b"aes128-ctr"))
        self.assertEqual(agreed.mac, EachWay(b"", b"mac-b"))
        self.assertEqual(agreed.compression, EachWay(b"none", b"zlib@openssh.com"))

    def test_markers(self) -> None:
        """Strictness and the extension message count where both, or the one who wants it, said so at first."""
        agreed = agree(CLIENT, SERVER, first=True)
        self.assertTrue(agreed.strict and agreed.client_wants_ext_info and agreed.server_wants_ext_info)
        later = agree(CLIENT, SERVER, first=False)
        self.assertFalse(later.strict or later.client_wants_ext_info or later.server_wants_ext_info)
        for client, server in (
            (evolve(CLIENT, kex=(b"kex-new", STRICT_SERVER)), SERVER),
            (CLIENT, evolve(SERVER, kex=(b"kex-new", STRICT_CLIENT))),
        ):
            self.assertFalse(agree(client, server, first=True).strict)

    def test_a_marker_is_no_method(self) -> None:
        """Two sides that share nothing but a marker share nothing."""
        client = evolve(CLIENT, kex=(b"a", EXT_INFO_CLIENT, STRICT_SERVER))
        server = evolve(SERVER, kex=(b"b", EXT_INFO_CLIENT, STRICT_SERVER))
        error = self.assertRaises(NoCommonAlgorithm, agree, client, server, True)
        self.assertEqual(str(error), "no common key exchange: the client offers a, and the server offers b")

    def test_guesses(self) -> None:
        """A guess is right where both want the same method and the same type of host key most."""
        same = evolve(SERVER, kex=CLIENT.kex, host_key=CLIENT.host_key)
        self.assertFalse(agree(CLIENT, same, first=True).guess_was_wrong)
        self.assertTrue(agree(CLIENT, evolve(same, kex=SERVER.kex), first=True).guess_was_wrong)
        self.assertTrue(agree(CLIENT, evolve(same, host_key=SERVER.host_key), first=True).guess_was_wrong)

    def test_nothing_in_common(self) -> None:
        """Whatever is missing, the sentence says what each side offers."""
        one: EachWay[Names] = EachWay((b"x",), (b"none",))
        other: EachWay[Names] = EachWay((b"none",), (b"y",))
        nothing: EachWay[Names] = EachWay((), ())
        for client, sentence in (
            (evolve(CLIENT, kex=(b"a", b"b")), "key exchange: the client offers a, b, and the server offers kex-"),
            (evolve(CLIENT, host_key=(b"k",)), "type of host key: the client offers k, and the server offers plain"),
            (evolve(CLIENT, ciphers=one), "cipher from client to server: the client offers x"),
            (evolve(CLIENT, ciphers=evolve(CLIENT.ciphers, server_to_client=())), "cipher from server to client"),
            (evolve(CLIENT, macs=nothing), "MAC beside aes128-ctr: the client offers none"),
            (evolve(CLIENT, compressions=one), "compression from client to server: the client offers x"),
            (evolve(CLIENT, compressions=other), "compression from server to client: the client offers y"),
        ):
            error = self.assertRaises(NoCommonAlgorithm, agree, client, SERVER, True)
            self.assertEqual(error.reason, 3)
            self.assertIn(f"no common {sentence}", str(error))

    def test_long_lists_are_told_in_short(self) -> None:
        """The sentence stays a sentence, however much was offered."""
        client = evolve(CLIENT, host_key=tuple(b"key%d" % number for number in range(200)))
        error = self.assertRaises(NoCommonAlgorithm, agree, client, SERVER, True)
        self.assertIn("key11 and 188 more, and the server", str(error))

    @given(offers, offers, st.booleans())
    def test_whatever_is_agreed_was_offered(self, client: KexInit, server: KexInit, first: bool) -> None:
        """Any two offers lead to names that both have, or to a refusal."""
        try:
            agreed = agree(client, server, first)
        except NoCommonAlgorithm:
            return
        self.assertTrue(agreed.kex in client.kex and agreed.kex in server.kex)
        self.assertIn(agreed.cipher.client_to_server, server.ciphers.client_to_server)
