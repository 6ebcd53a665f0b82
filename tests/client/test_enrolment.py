"""Whose host key the certificates of a host are for: its own, or one that is kept elsewhere."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.client.enrolment import REFUSED_WAIT_S
from tests.client.auth import TOKEN
from tests.client.test_uplink import DAY, Node, UplinkTestCase

KEPT_KEY = keys.generate_ssh_key()
KEPT = keys.public_blob(KEPT_KEY.public_key())
OTHER = keys.public_blob(keys.generate_ssh_key().public_key())


class HostKeyTests(UplinkTestCase):
    node: Node

    async def again(self, host_key: bytes) -> HostIdentity:
        """What the host is when it starts once more and has this key now."""
        await self.node.stop()
        self.node.host_key = host_key
        self.node.start()
        return await self.node.joined()

    def stored(self) -> HostIdentity:
        found = self.node.store.load("Node")
        assert found is not None
        return found

    def file(self) -> str:
        return (self.node.folder / "identities" / "node.json").read_text()

    async def test_joins(self) -> None:
        """The certificate is for the key that is kept, and no private one is made."""
        self.node.host_key = KEPT
        self.node.start()
        identity = await self.node.joined()
        self.assertEqual((identity.ssh_key, identity.host_key), ("", KEPT))
        self.assertEqual(SSHCertificate.from_line(identity.ssh_certificate).public_key, KEPT)
        self.assertNotIn("OPENSSH PRIVATE KEY", self.file())

    async def test_renews(self) -> None:
        """So is the next one."""
        self.node.host_key = KEPT
        self.node.start()
        before = await self.node.joined()
        await self.node.pass_time(16 * DAY)
        await self.node.beaten()
        self.assertEqual((self.stored().ssh_key, self.stored().host_key), ("", KEPT))
        self.assertNotEqual(self.stored().ssh_certificate, before.ssh_certificate)

    async def test_handed_over(self) -> None:
        """The key of a host that had it is taken out of its identity, which stays; auth is not asked."""
        self.node.start()
        before = await self.node.joined()
        self.assertIn("OPENSSH PRIVATE KEY", self.file())
        await self.node.stop()
        await self.auth.stop()
        self.node.host_key = before.host_key
        self.node.start()
        await self.node.until(lambda: self.node.uplink.identity is not None)
        self.assertEqual(self.node.uplink.identity, evolve(before, ssh_key=""))
        self.assertNotIn("OPENSSH PRIVATE KEY", self.file())

    async def test_another(self) -> None:
        """For another key a host gets certificates as who it is, with a new token."""
        self.node.start()
        before = await self.node.joined()
        for key in (KEPT, OTHER):
            identity = await self.again(key)
            self.assertEqual((identity.ssh_key, identity.host_key, identity.host_uuid), ("", key, before.host_uuid))
        self.assertNotIn("OPENSSH PRIVATE KEY", self.file())
        self.assertEqual(self.node.log, [])

    async def test_without_token(self) -> None:
        """Without one it gets none, says why once, and is what it was as soon as it has its key again."""
        self.node.host_key = KEPT
        self.node.start()
        before = await self.node.joined()
        await self.node.stop()
        self.node.host_key, self.node.token = OTHER, ""
        self.node.start()
        await self.node.until(lambda: self.node.log)
        await self.node.until_waiting(REFUSED_WAIT_S)
        self.node.clock.advance(REFUSED_WAIT_S)
        await self.node.until_waiting(REFUSED_WAIT_S)
        [line] = self.node.log
        self.assertIn(f"The host {before.host_uuid} joined with another host key, and no certificate is renewed", line)
        self.assertIs(self.node.uplink.identity, None)
        await self.node.stop()
        self.node.host_key = KEPT
        self.node.start()
        self.assertEqual(await self.node.joined(), before)

    async def test_own_again(self) -> None:
        """Where nobody keeps a key any more, the host makes one, and joins with it."""
        self.node.host_key = KEPT
        self.node.start()
        before = await self.node.joined()
        identity = await self.again(b"")
        self.assertEqual(identity.host_uuid, before.host_uuid)
        self.assertEqual(keys.public_blob(keys.load_private_pem(identity.ssh_key).public_key()), identity.host_key)

    async def test_auth_away(self) -> None:
        """A host whose key is another waits for auth, and says so: its certificate is of no use."""
        self.node.start()
        before = await self.node.joined()
        await self.node.stop()
        await self.admin.remove_node(before.host_uuid)
        await self.auth.stop()
        self.node.host_key = KEPT
        self.node.start()
        await self.node.until(lambda: self.node.log)
        self.assertIn("This host (Node) cannot join yet", self.node.log[0])
        self.assertIs(self.node.uplink.identity, None)
        await self.auth.start()
        self.node.clock.advance(60.0)
        self.assertEqual((await self.node.joined()).host_key, KEPT)

    async def test_barred(self) -> None:
        """A host that was removed meanwhile joins again."""
        self.node.start()
        before = await self.node.joined()
        await self.node.stop()
        await self.admin.remove_node(before.host_uuid)
        self.node.host_key, self.node.token = KEPT, TOKEN
        self.node.start()
        self.assertEqual((await self.node.joined()).host_key, KEPT)
