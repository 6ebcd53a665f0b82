"""Every message there and back, and every message cut off at every place."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.sftp import codec, messages
from teleport_conch.ssh.sftp.codec import Attributes, MalformedError

uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
strings = st.binary(max_size=40)
pairs = st.one_of(st.just((None, None)), st.tuples(uint32, uint32))


def _attributes(
    size: int | None, owner: tuple[int | None, int | None], mode: int | None, times: tuple[int | None, int | None]
) -> Attributes:
    return Attributes(size, *owner, mode, *times)


attributes = st.builds(_attributes, st.none() | uint64, pairs, st.none() | uint32, pairs)

FIELDS: dict[str, st.SearchStrategy[object]] = {
    "I": uint32,
    "Q": uint64,
    "s": strings,
    "p": strings.map(lambda name: name.replace(b"\0", b"")),
    "h": strings,
    "d": strings,
    "a": attributes,
    "x": st.dictionaries(strings, strings, max_size=3),
    "n": st.lists(st.tuples(strings, strings, attributes), max_size=3),
    "r": strings,
}


def values(fields: str) -> st.SearchStrategy[tuple[object, ...]]:
    return st.tuples(*(FIELDS[letter] for letter in fields))


any_message = st.sampled_from(sorted(messages.FIELDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), uint32, values(messages.FIELDS[kind]))
)
any_extension = st.sampled_from(sorted(messages.EXTENSION_FIELDS)).flatmap(
    lambda name: st.tuples(st.just(name), values(messages.EXTENSION_FIELDS[name]))
)
WITHOUT_ID = (messages.INIT, messages.FXP_VERSION)


def framed(kind: int, number: int, found: tuple[object, ...]) -> bytes:
    return codec.message(kind, None if kind in WITHOUT_ID else number, *found)


class RoundTripTests(SynchronousTestCase):
    @given(any_message)
    def test_every_message(self, sample: tuple[int, int, tuple[object, ...]]) -> None:
        """What is written is read."""
        kind, number, found = sample
        frame = framed(kind, number, found)
        self.assertEqual(int.from_bytes(frame[:4], "big"), len(frame) - 4)
        expected = (kind, None if kind in WITHOUT_ID else number, list(found))
        self.assertEqual(codec.parse(memoryview(frame)[4:]), expected)

    @given(any_extension)
    def test_every_extension(self, sample: tuple[bytes, tuple[object, ...]]) -> None:
        name, found = sample
        fields = messages.EXTENSION_FIELDS[name]
        self.assertEqual(codec.unpack(fields, memoryview(codec.pack(fields, *found))), list(found))

    @given(any_message, st.data())
    def test_cut_off(self, sample: tuple[int, int, tuple[object, ...]], data: st.DataObject) -> None:
        """A message that ends too early is never read as a shorter one; only what goes up to the end can be shorter."""
        kind, number, found = sample
        frame = framed(kind, number, found)[4:]
        cut = memoryview(frame)[: data.draw(st.integers(0, len(frame) - 1))]
        try:
            read = codec.parse(cut)
        except MalformedError:
            return
        self.assertIn(messages.FIELDS[kind][-1], "xr")
        self.assertEqual(frame[: len(cut)], framed(kind, read[1] or 0, tuple(read[2]))[4:])

    @given(st.binary(max_size=200))
    def test_anything(self, data: bytes) -> None:
        """There are no bytes that are neither a message nor refused."""
        try:
            codec.parse(memoryview(data))
        except MalformedError:
            return

    @given(attributes, st.binary(max_size=10))
    def test_what_follows_is_ignored(self, found: Attributes, more: bytes) -> None:
        frame = codec.message(messages.ATTRS, 7, found)[4:] + more
        self.assertEqual(codec.parse(memoryview(frame)), (messages.ATTRS, 7, [found]))


class TableTests(SynchronousTestCase):
    def test_bytes_on_the_wire(self) -> None:
        """As the draft and OpenSSH write them."""
        opened = codec.message(
            messages.OPEN, 9, b"/tmp/x", messages.FLAG_WRITE | messages.FLAG_CREATE, Attributes(permissions=0o644)
        )
        self.assertEqual(opened.hex(), "0000001b0300000009000000062f746d702f780000000a00000004000001a4")
        self.assertEqual(
            codec.message(messages.INIT, None, 3, {b"a": b"1"}).hex(), "0000000f010000000300000001610000000131"
        )
        self.assertEqual(codec.head(messages.DATA, 5, 4).hex(), "000000096700000005")

    def test_all_attributes(self) -> None:
        """The quick way writes what the other one does; times are cut to 32 bits."""
        self.assertEqual(
            codec.all_attributes(2**40, 1, 2, 0o100644, 3, -1),
            codec.attributes(Attributes(2**40, 1, 2, 0o100644, 3, 2**32 - 1)),
        )

    def test_extended_attributes_are_skipped(self) -> None:
        data = struct.pack(">IQI", 1 | 1 << 31, 5, 1) + codec.string(b"name") + codec.string(b"value")
        self.assertEqual(codec.unpack("aI", memoryview(data + b"\0\0\0\7")), [Attributes(size=5), 7])

    def test_refused(self) -> None:
        """Each refusal in its words."""
        number = struct.pack(">I", 1)
        for fields, data, why in (
            ("I", b"\0\0\0", "a message that ends too early"),
            ("Q", b"\0" * 7, "a message that ends too early"),
            ("s", b"\xff\xff\xff\xff", "a string goes beyond the end of its message"),
            ("p", codec.string(b"a\0b"), "a name with a NUL byte"),
            ("h", codec.string(b"h" * 257), "a handle of more than 256 bytes"),
            ("n", struct.pack(">I", 4097), "more than 4096 names in a message"),
            ("a", struct.pack(">II", 1 << 31, 2**32 - 1), "a message that ends too early"),
        ):
            error = self.assertRaises(MalformedError, codec.unpack, fields, memoryview(data))
            self.assertEqual(str(error), why)
        error = self.assertRaises(MalformedError, codec.parse, memoryview(b"\x63" + number))
        self.assertEqual(str(error), "there is no message 99")
        self.assertEqual(str(self.assertRaises(MalformedError, codec.parse, memoryview(b""))), "an empty message")

    def test_attributes_are_values(self) -> None:
        self.assertEqual(hash(Attributes(size=1)), hash(Attributes(size=1)))
        self.assertNotEqual(Attributes(size=1), Attributes())
        self.assertEqual(repr(Attributes(1)), "Attributes(1, None, None, None, None, None)")
