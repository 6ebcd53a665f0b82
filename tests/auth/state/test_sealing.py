"""Files that only their passphrase opens, and that nobody changes unseen."""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.auth.state import sealing
from teleport_conch.auth.state.sealing import HEAD_BYTES, MAGIC, Sealer, Unsealer
from teleport_conch.errors import BadParameter
from tests.auth.fixture import entropy

PASSPHRASE = "correct horse battery"


class SealingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(sealing, "CHUNK_BYTES", 64)
        self.patch(sealing, "_COST", 2)  # as slow as it has to be in earnest, it would be slow here

    def sealed(self, data: bytes, pieces: int = 1000) -> bytes:
        target = io.BytesIO()
        sealer = Sealer(target, PASSPHRASE, entropy())
        for start in range(0, len(data), pieces):
            sealer.write(data[start : start + pieces])
        sealer.close()
        return target.getvalue()

    def unsealed(self, data: bytes, passphrase: str = PASSPHRASE) -> bytes:
        unsealer, found = Unsealer(io.BytesIO(data), passphrase), b""
        while piece := unsealer.read(50):
            found += piece
        return found

    def refuses(self, data: bytes, sentence: str, passphrase: str = PASSPHRASE) -> None:
        self.assertEqual(self.assertRaises(BadParameter, self.unsealed, data, passphrase).sentence, sentence)


class SealingTests(SealingTestCase):
    def test_round(self) -> None:
        """What was sealed is read again, whatever its length and however it was written."""
        for length in (0, 1, 63, 64, 65, 128, 1000):
            data = bytes(number % 251 for number in range(length))
            for pieces in (1, 64, 1000):
                self.assertEqual(self.unsealed(self.sealed(data, pieces)), data)

    def test_nothing_shows(self) -> None:
        """Neither the text, nor that two files hold the same."""
        one, other = self.sealed(b"secret" * 20), self.sealed(b"secret" * 20)
        self.assertNotIn(b"secret", one)
        self.assertEqual(one[: len(MAGIC)], b"TPCBACK1")
        target = io.BytesIO()
        random = entropy()
        random(1)
        Sealer(target, PASSPHRASE, random)
        self.assertNotEqual(target.getvalue(), other[:HEAD_BYTES])

    def test_wrong_passphrase(self) -> None:
        """It is not told from damage, which would take another secret."""
        sentence = "The passphrase is wrong, or the backup is damaged."
        self.refuses(self.sealed(b"x" * 200), sentence, "wrong horse battery")

    def test_short_passphrase(self) -> None:
        """One that could be found by trying is refused before anything is written."""
        target = io.BytesIO()
        reason = self.assertRaises(BadParameter, Sealer, target, "hunter2", entropy())
        self.assertEqual(reason.sentence, "The passphrase of a backup has at least 12 characters.")
        self.assertEqual(target.getvalue(), b"")

    def test_other_files(self) -> None:
        """What is no backup, and what a newer program made."""
        for data in (b"", b"TPC", b"x" * 1000, MAGIC):
            self.refuses(data, "This is not a backup of an auth server.")
        newer = "The backup was made by a newer version of this program; use that one."
        self.refuses(b"TPCBACK2" + b"x" * 100, newer)

    def test_cut_short(self) -> None:
        """Wherever it was cut, also between two chunks."""
        whole = self.sealed(b"x" * 200)
        for length in range(HEAD_BYTES, len(whole)):
            self.assertRaises(BadParameter, self.unsealed, whole[:length])

    def test_changed(self) -> None:
        """Any byte."""
        whole = self.sealed(b"x" * 130)
        for position in range(len(whole)):
            changed = whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]
            self.assertRaises(BadParameter, self.unsealed, changed)

    def test_chunks_moved(self) -> None:
        """Exchanged, repeated, left out, or followed by more."""
        whole, size = self.sealed(b"x" * 200), 4 + 64 + 16
        head, chunks = whole[:HEAD_BYTES], [whole[HEAD_BYTES:][start:][:size] for start in range(0, 4 * size, size)]
        a, b, c, last = chunks
        for order in ([b, a, c, last], [a, a, b, c, last], [a, c, last], [a, b, c, last, last], [a, b, c]):
            self.assertRaises(BadParameter, self.unsealed, head + b"".join(order))
        self.assertEqual(self.unsealed(head + a + b + c + last), b"x" * 200)


class CostTests(SynchronousTestCase):
    def test_cost(self) -> None:
        """Trying one passphrase takes 32 MiB of memory, at the least."""
        self.assertEqual((sealing._COST * 8 * 128) >> 20, 32)
