"""Packets: messages through every cipher, in pieces of any size, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.transport.ciphers import Keys, PacketAltered
from teleport_conch.ssh.transport.packets import (
    MAX_PACKET_BYTES,
    MAX_PLAIN_PACKET_BYTES,
    Message,
    PacketReader,
    PacketRefused,
    PacketWriter,
)
from tests.ssh.sealing import combinations, some_keys

GCM = some_keys(b"aes128-gcm@openssh.com", b"")


def sealed_pair(keys: Keys, compressed: bool = False) -> tuple[PacketWriter, PacketReader]:
    """A writer, and a reader that understands it."""
    writer, reader = PacketWriter(), PacketReader()
    writer.switch(keys.sealer(), compressed, True)
    reader.switch(keys.opener(), compressed, True)
    return writer, reader


def read_all(reader: PacketReader, pieces: Sequence[bytes]) -> list[Message]:
    """Every message in ``pieces``."""
    messages = []
    for piece in pieces:
        reader.feed(piece)
        while (message := reader.next()) is not None:
            messages.append(message)
    return messages


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """``data`` in pieces of these sizes, over and over."""
    pieces, at, turn = [], 0, 0
    while at < len(data):
        pieces.append(data[at : at + sizes[turn % len(sizes)]])
        at, turn = at + len(pieces[-1]), turn + 1
    return pieces


def plain(length: int, padding: int, size: int | None = None) -> bytes:
    """A packet that says these things of itself."""
    return length.to_bytes(4, "big") + bytes((padding,)) + bytes(length - 1 if size is None else size)


MESSAGES = st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=300)), min_size=1, max_size=12)
SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=5)


class RoundTripTests(SynchronousTestCase):
    @given(st.sampled_from(sorted(combinations())), MESSAGES, SIZES, st.booleans())
    @settings(deadline=None, max_examples=60)
    def test_any_pieces(
        self, combination: tuple[bytes, bytes], messages: list[Message], sizes: list[int], compressed: bool
    ) -> None:
        """However the bytes are cut on their way, the messages arrive, whole and in order."""
        writer, reader = sealed_pair(some_keys(*combination), compressed)
        data = b"".join(writer.pack(*message) for message in messages)
        self.assertEqual(read_all(reader, cut(data, sizes)), messages)
        self.assertEqual((reader.sequence, writer.sequence), (len(messages), len(messages)))

    @given(MESSAGES, SIZES)
    def test_plain(self, messages: list[Message], sizes: list[int]) -> None:
        """So do those before there are keys."""
        writer, reader = PacketWriter(), PacketReader()
        data = b"".join(writer.pack(*message) for message in messages)
        self.assertEqual(read_all(reader, cut(data, sizes)), messages)

    def test_parts(self) -> None:
        """A message may be given in parts, and a part may be a view."""
        writer, reader = sealed_pair(GCM)
        self.assertEqual(
            read_all(reader, [writer.pack(94, b"ab", memoryview(b"xcdx")[1:3], b"", b"e")]), [(94, b"abcde")]
        )

    def test_truncated(self) -> None:
        """A packet without its end is no message, and no reason to refuse anything."""
        for combination in combinations():
            writer, reader = sealed_pair(some_keys(*combination))
            packet = writer.pack(94, bytes(100))
            for at in range(len(packet)):
                reader.feed(packet[at : at + 1])
                self.assertEqual(reader.next(), (94, bytes(100)) if at + 1 == len(packet) else None)

    def test_largest(self) -> None:
        """The longest packet that is read, and one block more."""
        writer, reader = sealed_pair(GCM)
        most = MAX_PACKET_BYTES - 2 - 14
        self.assertEqual(read_all(reader, [writer.pack(94, bytes(most))]), [(94, bytes(most))])
        problem = self.assertRaises(PacketRefused, read_all, reader, [writer.pack(94, bytes(most + 16))])
        self.assertEqual(str(problem), "a packet of 262160 bytes, where 6 to 262144 may be")

    def test_wrap(self) -> None:
        """The number of packets is 32 bits wide, and a connection outlives its end."""
        for combination in combinations():
            writer, reader = sealed_pair(some_keys(*combination))
            writer.sequence = reader.sequence = 0xFFFF_FFFE
            data = [writer.pack(94, bytes((number,))) for number in range(5)]
            self.assertEqual(read_all(reader, data), [(94, bytes((number,))) for number in range(5)])
            self.assertEqual((writer.sequence, reader.sequence), (3, 3))


class SwitchTests(SynchronousTestCase):
    def test_between_two_messages(self) -> None:
        """New keys serve from the next message on, also where that is there already."""
        writer, reader = sealed_pair(GCM)
        other = some_keys(b"chacha20-poly1305@openssh.com", b"")
        data = writer.pack(21)
        writer.switch(other.sealer(), False, False)
        reader.feed(data + writer.pack(94, b"behind"))
        self.assertEqual(reader.next(), (21, b""))
        reader.switch(other.opener(), False, False)
        self.assertEqual(reader.next(), (94, b"behind"))
        self.assertEqual((reader.sequence, writer.sequence), (2, 2))

    def test_from_zero(self) -> None:
        """Strict key exchange counts packets anew from each NEWKEYS on."""
        writer, reader = sealed_pair(GCM)
        read_all(reader, [writer.pack(21)])
        writer.switch(GCM.sealer(), False, True)
        reader.switch(GCM.opener(), False, True)
        self.assertEqual((reader.sequence, writer.sequence), (0, 0))

    def test_counts_bytes(self) -> None:
        """What the present keys have served for is counted, for who exchanges them."""
        writer, reader = sealed_pair(GCM)
        packet = writer.pack(94, bytes(100))
        read_all(reader, [packet])
        self.assertEqual((writer.sealed_bytes, reader.opened_bytes), (len(packet), len(packet) - 4))
        writer.switch(GCM.sealer(), False, True)
        reader.switch(GCM.opener(), False, True)
        self.assertEqual((writer.sealed_bytes, reader.opened_bytes), (0, 0))

    def test_compression_from_now_on(self) -> None:
        """Compression can begin without new keys, after the login."""
        writer, reader = sealed_pair(GCM)
        read_all(reader, [writer.pack(52)])
        writer.deflate()
        reader.inflate()
        packet = writer.pack(94, bytes(20_000))
        self.assertLess(len(packet), 200)
        self.assertEqual(read_all(reader, [packet]), [(94, bytes(20_000))])


class RefusedTests(SynchronousTestCase):
    def refused(self, data: bytes, reader: PacketReader | None = None) -> str:
        problem = self.assertRaises(PacketRefused, read_all, reader or PacketReader(), [data])
        self.assertEqual(problem.reason, 2)
        return str(problem)

    def test_length(self) -> None:
        """T08: a length is refused as soon as it is known, before anything is stored for it."""
        for length in (0, 1, 5, MAX_PLAIN_PACKET_BYTES + 1, 1 << 31, 0xFFFF_FFFF):
            sentence = f"a packet of {length} bytes, where 6 to {MAX_PLAIN_PACKET_BYTES} may be"
            self.assertEqual(self.refused(length.to_bytes(4, "big")), sentence)
        self.assertEqual(self.refused(plain(13, 4)), "a packet of 13 bytes, which is no multiple of 8")

    def test_length_behind_keys(self) -> None:
        """The same with keys, when the length is in the open and when it is not."""
        for combination in combinations():
            _, reader = sealed_pair(some_keys(*combination))
            writer = some_keys(*combination).sealer()
            body = bytes(16 - writer.counted)
            for length in (0, 1, 1 << 31):
                sealed = writer.seal(0, length.to_bytes(4, "big"), body)
                self.assertIn(" bytes, where 6 to 262144 may be", self.refused(sealed, reader))
                writer, (_, reader) = some_keys(*combination).sealer(), sealed_pair(some_keys(*combination))

    def test_padding(self) -> None:
        """T09: less padding than 4 bytes, or so much that no message is left."""
        for padding in (0, 1, 2, 3, 11, 12, 200, 255):
            self.assertEqual(self.refused(plain(12, padding)), f"a padding of {padding} bytes in a packet of 12")
        self.assertEqual(read_all(PacketReader(), [plain(12, 10)]), [(0, b"")])

    def test_empty(self) -> None:
        """T10: a packet without a message, behind good keys."""
        for combination in combinations():
            sealer = some_keys(*combination).sealer()
            size = 16 - sealer.counted
            body = bytes((size - 1,)) + bytes(size - 1)
            _, reader = sealed_pair(some_keys(*combination))
            sentence = self.refused(sealer.seal(0, size.to_bytes(4, "big"), body), reader)
            self.assertEqual(sentence, f"a padding of {size - 1} bytes in a packet of {size}")

    def test_altered(self) -> None:
        """T10: a tag that was changed, through the reader."""
        for combination in combinations():
            writer, reader = sealed_pair(some_keys(*combination))
            packet = bytearray(writer.pack(94, b"content"))
            packet[-1] ^= 1
            self.assertRaises(PacketAltered, read_all, reader, [bytes(packet)])

    @given(st.binary(max_size=2000), st.sampled_from([None, *sorted(combinations())]))
    @settings(deadline=None, max_examples=100)
    def test_anything(self, data: bytes, combination: tuple[bytes, bytes] | None) -> None:
        """Whatever arrives is a message, the beginning of one, or one of these refusals."""
        reader = PacketReader() if combination is None else sealed_pair(some_keys(*combination))[1]
        try:
            messages = read_all(reader, [data])
        except (PacketRefused, PacketAltered):
            return
        self.assertTrue(combination is None or not messages)


class MemoryTests(SynchronousTestCase):
    def test_nothing_is_kept(self) -> None:
        """What was read is let go when its last message is out."""
        writer, reader = sealed_pair(GCM)
        read_all(reader, [writer.pack(94, bytes(30_000)) * 1])
        self.assertEqual((len(reader._data), len(reader._partial)), (0, 0))

    def test_padding_is_random(self) -> None:
        """Two packets with the same content do not end alike, and the source of it is an argument."""
        asked: list[int] = []

        def random(count: int) -> bytes:
            asked.append(count)
            return os.urandom(count)

        writer = PacketWriter(random)
        packets = {writer.pack(2, b"same")[-4:] for _ in range(50)}
        self.assertEqual((len(packets), len(asked)), (50, 1))
