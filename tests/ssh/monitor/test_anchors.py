"""The file of trust anchors: who may write it, and how it changes."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.errors import AccessDenied, BadParameter, UnsafePath
from teleport_conch.ssh.monitor.anchors import KeptAnchors, endorsed_part
from tests.certs import samples

FIRST = samples.SSH_BLOB
SECOND_KEY = keys.generate_ssh_key()
SECOND = keys.public_blob(SECOND_KEY.public_key())


def endorsement(blobs: tuple[bytes, ...], by: object = samples.SSH_KEY) -> bytes:
    return wire.text("ssh-ed25519") + wire.string(by.sign(endorsed_part(blobs)))  # type: ignore[attr-defined]


class KeptAnchorsTests(SynchronousTestCase):
    """Taken once; after that a key that is trusted vouches for others, or an administrator edits the file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "folder" / "anchors"
        self.log: list[str] = []
        self.anchors = KeptAnchors(self.path, self.log.append)

    def test_first(self) -> None:
        """The first list is kept, in a file that everybody may read and only its owner may write."""
        self.assertEqual(self.anchors.blobs, ())
        self.anchors.trust([FIRST], b"")
        self.assertEqual(self.path.read_text(), f"{keys.public_line(FIRST)}\n")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o644)
        self.assertEqual(KeptAnchors(self.path, self.log.append).blobs, (FIRST,))
        self.assertEqual(self.log, [f"The authorities in {self.path} are those of the first join."])

    def test_same_again(self) -> None:
        """A server that starts again says the same, in any order."""
        self.anchors.trust([FIRST, SECOND], b"")
        self.anchors.trust([SECOND, FIRST], b"")
        self.assertEqual(len(self.log), 1)

    def test_others(self) -> None:
        """Nobody takes others on his own word."""
        self.anchors.trust([FIRST], b"")
        for blobs, vouched in (
            ((SECOND,), b""),
            ((FIRST, SECOND), b"x"),
            ((SECOND,), endorsement((SECOND,), SECOND_KEY)),
        ):
            refusal = self.assertRaises(AccessDenied, self.anchors.trust, blobs, vouched)
            self.assertEqual(
                refusal.sentence,
                f"The cluster has other user authorities than {self.path} has. If that is right, put their lines there"
                " (tctl auth export --type=user), or stop the service, remove the file, and start it.",
            )
        self.assertEqual(self.anchors.blobs, (FIRST,))

    def test_vouched_for(self) -> None:
        """A key that is trusted signs for exactly one new list."""
        self.anchors.trust([FIRST], b"")
        self.assertRaises(AccessDenied, self.anchors.trust, [SECOND], endorsement((FIRST, SECOND)))
        self.anchors.trust([FIRST, SECOND], endorsement((FIRST, SECOND)))
        self.assertEqual(self.anchors.blobs, (FIRST, SECOND))
        self.assertEqual(self.log[1:], [f"The authorities in {self.path} are others now."])

    def test_number(self) -> None:
        for blobs in ([], [FIRST] * 17):
            refusal = self.assertRaises(BadParameter, self.anchors.trust, blobs, b"")
            self.assertEqual(refusal.sentence, "Between 1 and 16 authorities can be trusted here.")

    def test_administrator(self) -> None:
        """What is edited counts at once; comments and empty lines do not."""
        self.anchors.trust([FIRST], b"")
        self.path.write_text(f"# ours\n\n{keys.public_line(SECOND, 'new')}\n")
        self.assertEqual(self.anchors.blobs, (SECOND,))

    def test_writable_by_others(self) -> None:
        """A file, or a folder, that others can write is believed no more."""
        self.anchors.trust([FIRST], b"")
        for path in (self.path, self.path.parent):
            mode = path.stat().st_mode
            path.chmod(mode | 0o020)
            refusal = self.assertRaises(UnsafePath, lambda: self.anchors.blobs)
            self.assertEqual(
                refusal.sentence,
                f"{path} is not believed: others than root can write it. Make it root's, with mode 0644 or 0700.",
            )
            path.chmod(mode)

    def test_folders_on_the_way(self) -> None:
        """Who can rename the folder can put another there: of every folder above it, root has to be the owner."""
        self.anchors.trust([FIRST], b"")
        above = self.path.parent.parent
        above.chmod(0o777)
        believed = "is not believed: others than root can write it. Make it root's, with mode 0644 or 0700."
        for asked in (lambda: self.anchors.blobs, lambda: self.anchors.trust([SECOND], b"")):
            refusal = self.assertRaises(UnsafePath, asked)
            self.assertEqual(refusal.sentence, f"{above} {believed}")
        above.chmod(0o1777)
        self.assertEqual(self.anchors.blobs, (FIRST,))
        if os.geteuid() == 0:
            os.chown(above, 65534, 65534)
            self.assertRaises(UnsafePath, lambda: self.anchors.blobs)

    def test_first_in_a_folder_of_others(self) -> None:
        """Nor is a list made where others could exchange it."""
        self.path.parent.parent.mkdir(parents=True)
        self.path.parent.parent.chmod(0o777)
        self.assertRaises(UnsafePath, self.anchors.trust, [FIRST], b"")
        self.assertFalse(self.path.parent.exists())

    def test_links_on_the_way(self) -> None:
        """A link of ours is followed, and what it leads to is looked at as well."""
        real = self.path.parent.parent / "real"
        real.mkdir(parents=True)
        self.path.parent.symlink_to(real)
        self.anchors.trust([FIRST], b"")
        self.assertEqual(self.anchors.blobs, (FIRST,))
        real.chmod(0o777)
        self.assertRaises(UnsafePath, lambda: self.anchors.blobs)

    def test_removed(self) -> None:
        """A server that runs already does not get another choice when the file goes."""
        self.anchors.trust([FIRST], b"")
        self.path.unlink()
        refusal = self.assertRaises(UnsafePath, self.anchors.trust, [SECOND], b"")
        self.assertEqual(
            refusal.sentence, f"{self.path} has been removed. Start the service again to have it made anew."
        )
        KeptAnchors(self.path, self.log.append).trust([SECOND], b"")

    def test_another_owner(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("only root gives files away")
        self.anchors.trust([FIRST], b"")
        os.chown(self.path, 65534, 65534)
        self.assertRaises(UnsafePath, lambda: self.anchors.blobs)

    def test_link(self) -> None:
        """A link is not followed to wherever it leads."""
        self.anchors.trust([FIRST], b"")
        self.path.rename(self.path.with_name("other"))
        self.path.symlink_to("other")
        self.assertRaises(UnsafePath, lambda: self.anchors.blobs)

    def test_malformed(self) -> None:
        self.anchors.trust([FIRST], b"")
        self.path.write_text("ssh-ed25519 AAAA\n")
        refusal = self.assertRaises(UnsafePath, lambda: self.anchors.blobs)
        self.assertIn("A line of the trust anchors cannot be read", refusal.sentence)
