"""Our SSH client and each algorithm that OpenSSH's ``sshd``, or AsyncSSH where that does not know it, has as well."""

from __future__ import annotations

import hashlib
import subprocess
import time

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint

from teleport_conch.ssh.client import host_offer
from teleport_conch.ssh.client.auth import Credentials
from teleport_conch.ssh.client.host_offer import HostName
from teleport_conch.ssh.client.known_hosts import (
    KnownHosts,
)
from teleport_conch.ssh.client.session import Ending
from teleport_conch.ssh.transport import algorithms, kex
from teleport_conch.ssh.transport.rekeying import RekeyLimits
from tests.interop.openssh_server import (
    KEY_TYPES,
)
from tests.interop.our_client import ClientCase, start_asyncssh
from tests.ssh.streams import clock, tcp


class AlgorithmTests(ClientCase):
    def supported(self, what: str) -> set[bytes]:
        listed = subprocess.run(["ssh", "-Q", what], capture_output=True, check=True).stdout
        return set(listed.split())

    async def test_key_exchanges(self) -> None:
        """Each method that both have."""
        self.server.start(self)
        both = [name for name in algorithms.KEY_EXCHANGES if name in self.supported("kex")]
        self.assertGreaterEqual(len(both), 5)
        for name in both:
            client = await self.connected(evolve(self.options(), kex=(name,)))
            self.assertEqual((await client.run("echo hello")).out, b"hello\n", name)
            client.close()

    async def test_ciphers_and_macs(self) -> None:
        """Each cipher, and each MAC where there is one."""
        everything = ",".join(name.decode() for name in algorithms.CIPHERS)
        macs = ",".join(name.decode() for name in algorithms.MACS)
        self.server.start(self, Ciphers=everything, MACs=macs)
        pairs = [(cipher, algorithms.MACS[0]) for cipher in algorithms.CIPHERS]
        pairs += [(b"aes128-ctr", mac) for mac in algorithms.MACS]
        for cipher, mac in pairs:
            client = await self.connected(evolve(self.options(), ciphers=(cipher,), macs=(mac,)))
            data = bytes(100_000)
            self.assertTrue((await client.run("cat", data)).out == data, (cipher, mac))
            client.close()

    async def test_compression(self) -> None:
        """Compression begins with the login, and survives new keys."""
        self.server.start(self, Compression="yes")
        options = evolve(
            self.options(), compressions=(b"zlib@openssh.com",), rekey_limits=RekeyLimits(data_bytes=1 << 18)
        )
        data = hashlib.shake_256(b"data").digest(1_000_000)
        self.assertTrue((await (await self.connected(options)).run("cat", data)).out == data)

    async def test_host_keys(self) -> None:
        """Each type of host key, by its certificate and by its line."""
        self.server.start(self)
        lines = "".join(f"[web1]:3022 {self.server.public(f'host_{kind}')}\n" for kind in KEY_TYPES)
        kinds = [b"ssh-ed25519", b"ecdsa-sha2-nistp256", b"rsa-sha2-512", b"rsa-sha2-256"]
        certified = [name + b"-cert-v01@openssh.com" for name in kinds]
        for known, wanted in ((self.known, certified), (lines, kinds)):
            for name in wanted:
                self.known = known
                verifier = OneAlgorithm(name, KnownHosts.parse(known))
                client = await self.connected(evolve(self.options(), hosts=verifier))
                self.assertEqual(verifier.shown, [name])
                client.close()

    async def test_mlkem(self) -> None:
        """ML-KEM, with a server that knows it."""
        if not kex.HAS_MLKEM:
            self.skipTest("the OpenSSL of this Python has no ML-KEM")
        port = start_asyncssh(self, self.folder)
        self.known = f"[web1]:3022 {self.server.public('host_ed25519')}\n"
        options = evolve(self.options(), kex=(b"mlkem768x25519-sha256",), credentials=self.alice())
        client = await self.connected(options, TCP4ClientEndpoint(tcp, "127.0.0.1", port))
        done = await client.run("hello")
        self.assertEqual((done.out, done.ending), (b"you said hello\n", Ending(5)))

    def alice(self) -> Credentials:
        return Credentials("alice", [self.identity()])


class OneAlgorithm:
    """Known hosts that are asked for one algorithm only."""

    def __init__(self, name: bytes, known: KnownHosts) -> None:
        self.name = name
        self.known = known
        self.shown: list[bytes] = []

    def algorithms(self, name: HostName) -> tuple[bytes, ...]:
        return (self.name,)

    async def verify(self, offer: host_offer.HostKeyOffer) -> None:
        # Later, as it would be where a person is asked; the server's next message is on its way.
        later: Deferred[None] = Deferred()
        clock.callLater(0.05, later.callback, None)
        await later
        self.shown.append(offer.algorithm)
        self.known.check(offer, time.time())
