"""OpenSSH's ``UpdateHostKeys``: a client that keeps the keys of hosts learns of a new one, and forgets an old one."""

from __future__ import annotations

from teleport_conch.certs import keys
from teleport_conch.ssh.transport.algorithms import ED25519
from teleport_conch.ssh.transport.hostkeys import LocalHostKey
from tests.certs import samples
from tests.ssh.engine import OpenSSHCase


class UpdateHostKeysTests(OpenSSHCase):
    async def test_a_new_key(self) -> None:
        """After the login the client asks for the proof that the new key is there too, and keeps it."""
        old, new = samples.SSH_KEY, keys.generate_ssh_key()
        blobs = [keys.public_blob(key.public_key()) for key in (old, new)]
        self.factory.host_keys = {
            ED25519: LocalHostKey(ED25519, blobs[0], old),
            b"the key of tomorrow": LocalHostKey(b"the key of tomorrow", blobs[1], new),
        }
        known = f"web1 {keys.public_line(blobs[0])}\n"
        self.write("known_hosts", known)
        done = await self.at_web1("true", options=["-o", "UpdateHostKeys=yes"])
        self.assertEqual((done.code, done.out), (0, b""), done.err)
        kept = (self.folder / "known_hosts").read_text()
        for blob in blobs:
            self.assertIn(keys.public_line(blob).strip(), kept)

    async def test_without_a_new_key(self) -> None:
        """Where the client knows all keys there is nothing to ask, and nothing changes."""
        known = f"web1 {keys.public_line(keys.public_blob(samples.SSH_KEY.public_key()))}\n"
        self.write("known_hosts", known)
        done = await self.at_web1("true", options=["-o", "UpdateHostKeys=yes", "-o", "HostKeyAlgorithms=ssh-ed25519"])
        self.assertEqual((done.code, (self.folder / "known_hosts").read_text()), (0, known), done.err)
