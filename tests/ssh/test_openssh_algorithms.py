"""OpenSSH's client with every cipher, MAC, key exchange and compression of ours, and with new keys all the time."""

from __future__ import annotations

import os
import re

from teleport_conch.ssh.server import ServerTransport
from teleport_conch.ssh.transport import algorithms
from teleport_conch.ssh.transport.rekeying import RekeyLimits
from tests.ssh.engine import Done, OpenSSHCase

BOTH_WAYS_BYTES = 200_000_000 if os.environ.get("TELEPORT_CONCH_LONG") == "1" else 8_000_000
SOME_BYTES = 500_000


class AlgorithmTests(OpenSSHCase):
    async def there_and_back(self, *options: str) -> Done:
        """Sends some bytes through ``cat``, and looks whether they come back."""
        data = os.urandom(SOME_BYTES)
        done = await self.at_web1("cat", options=("-v", *options), stdin=data)
        self.assertEqual((done.code, done.out == data), (0, True), done.err)
        return done

    async def test_ciphers(self) -> None:
        """Every cipher, in both directions."""
        for cipher in algorithms.CIPHERS:
            done = await self.there_and_back("-c", cipher.decode())
            self.assertIn(b"server->client cipher: " + cipher, done.err)
            self.assertIn(b"client->server cipher: " + cipher, done.err)

    async def test_macs(self) -> None:
        """Every MAC."""
        self.offer_everything()
        for mac in algorithms.MACS:
            done = await self.there_and_back("-c", "aes256-ctr", "-m", mac.decode())
            self.assertIn(b"MAC: " + mac, done.err)

    async def test_key_exchanges(self) -> None:
        """Every key exchange that the installed client knows."""
        self.offer_everything()
        known = (await self.program(self.ssh, "-Q", "kex")).out.split()
        for method in algorithms.KEY_EXCHANGES:
            if method in known:
                done = await self.there_and_back("-o", f"KexAlgorithms={method.decode()}")
                self.assertIn(b"kex: algorithm: " + method, done.err)

    async def test_compression(self) -> None:
        """Compression, which begins behind the login."""
        done = await self.there_and_back("-C")
        self.assertIn(b"compression: zlib@openssh.com", done.err)

    async def test_strict(self) -> None:
        """A client that speaks strict key exchange finds that we do; so do one that does not, and clients of old."""
        done = await self.there_and_back()
        if b"kex-strict-c-v00@openssh.com" in (await self.there_and_back("-vv")).err:
            self.assertIn(b"will use strict KEX ordering", (await self.there_and_back("-vvv")).err)
        self.assertEqual(done.code, 0)

    async def test_hardened(self) -> None:
        """What an audit finds fault with is spoken, and not offered unless a program wants it."""
        for options in (("-o", "KexAlgorithms=ecdh-sha2-nistp256"), ("-m", "hmac-sha2-256", "-c", "aes128-ctr")):
            done = await self.at_web1("true", options=options)
            self.assertEqual(done.code, 255)
            self.assertIn(b"no matching", done.err)

    async def test_nothing_old(self) -> None:
        """What is not offered is not used either, and the person reads what is offered instead."""
        for options in (
            ("-c", "aes128-cbc"),
            ("-o", "KexAlgorithms=diffie-hellman-group14-sha1"),
            ("-m", "hmac-sha1", "-c", "aes128-ctr"),
        ):
            done = await self.at_web1("true", options=options)
            self.assertEqual(done.code, 255)
            self.assertIn(b"no matching", done.err)


class RekeyTests(OpenSSHCase):
    timeout = 600

    async def both_ways(self, cipher: bytes, *options: str) -> Done:
        """Sends as much as comes back."""
        data = os.urandom(1 << 20) * (BOTH_WAYS_BYTES >> 20)
        done = await self.at_web1("cat", options=("-v", "-c", cipher.decode(), *options), stdin=data)
        self.assertEqual((done.code, done.out == data), (0, True), done.err[-2000:])
        return done

    async def test_by_the_client(self) -> None:
        """The client wants new keys every megabyte while data goes both ways."""
        for cipher in algorithms.CIPHERS:
            done = await self.both_ways(cipher, "-o", "RekeyLimit=1M")
            self.assertGreater(len(re.findall(rb"SSH2_MSG_KEXINIT sent", done.err)), BOTH_WAYS_BYTES >> 21)

    async def test_as_often_as_possible(self) -> None:
        """The smallest limit that the client knows means new keys for every packet, and is not too often."""
        data = os.urandom(2_000_000)
        done = await self.at_web1("cat", options=("-v", "-o", "RekeyLimit=16K"), stdin=data)
        self.assertEqual((done.code, done.out == data), (0, True), done.err[-2000:])
        self.assertGreater(len(re.findall(rb"SSH2_MSG_KEXINIT sent", done.err)), 60)

    async def test_by_the_server(self) -> None:
        """So does the server."""
        self.patch(ServerTransport, "rekey_limits", RekeyLimits(1 << 20))
        for cipher in (b"aes128-gcm@openssh.com", b"chacha20-poly1305@openssh.com"):
            done = await self.both_ways(cipher)
            self.assertGreater(len(re.findall(rb"SSH2_MSG_KEXINIT received", done.err)), BOTH_WAYS_BYTES >> 21)

    async def test_by_both(self) -> None:
        """And both at once, with compression that begins anew each time."""
        self.patch(ServerTransport, "rekey_limits", RekeyLimits(1 << 20))
        await self.both_ways(b"aes128-ctr", "-o", "RekeyLimit=1M", "-C")
