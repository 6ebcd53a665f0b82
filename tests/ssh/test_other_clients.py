"""AsyncSSH and Paramiko as clients, with what each of them has of our algorithms, and with new keys in between."""

from __future__ import annotations

import asyncio
import os

import asyncssh
import paramiko  # type: ignore[import-untyped]  # it has no types
from twisted.internet.threads import deferToThread

from teleport_conch.ssh.server import ServerTransport
from teleport_conch.ssh.transport import algorithms
from teleport_conch.ssh.transport.kex import METHODS
from teleport_conch.ssh.transport.rekeying import RekeyLimits
from tests.ssh.engine import USER, OpenSSHCase

DATA = os.urandom(1 << 16) * 64


class AsyncSSHTests(OpenSSHCase):
    async def echo(self, data: bytes = b"hello", **options: object) -> tuple[bytes, dict[str, str]]:
        """What ``cat`` makes of ``data``, and the names that were agreed upon."""
        wanted = {
            "port": self.port,
            "username": USER,
            "client_keys": [(str(self.folder / "key"), str(self.folder / "key-cert.pub"))],
            "known_hosts": None,
            "agent_path": None,
            "config": None,
            **options,
        }

        async def talk() -> tuple[bytes, dict[str, str]]:
            async with asyncssh.connect("127.0.0.1", **wanted) as connection:
                done = await connection.run("cat", input=data, encoding=None, check=True)
                names = ("send_cipher", "recv_cipher", "send_mac", "send_compression")
                agreed = {name: str(connection.get_extra_info(name)) for name in names}
                assert isinstance(done.stdout, bytes)
                return done.stdout, agreed

        done: tuple[bytes, dict[str, str]] = await deferToThread(asyncio.run, talk())
        return done

    async def test_ciphers(self) -> None:
        """Every cipher of ours."""
        for cipher in algorithms.CIPHERS:
            out, agreed = await self.echo(encryption_algs=[cipher.decode()])
            self.assertEqual((out, agreed["send_cipher"], agreed["recv_cipher"]), (b"hello", *[cipher.decode()] * 2))

    async def test_macs(self) -> None:
        """Every MAC."""
        self.offer_everything()
        for mac in algorithms.MACS:
            out, agreed = await self.echo(encryption_algs=["aes128-ctr"], mac_algs=[mac.decode()])
            self.assertEqual((out, agreed["send_mac"]), (b"hello", mac.decode()))

    async def test_key_exchanges(self) -> None:
        """Every key exchange, ML-KEM among them, which the client has from another library than OpenSSH's."""
        self.offer_everything()
        for method in METHODS:
            self.assertEqual((await self.echo(kex_algs=[method.decode()]))[0], b"hello")

    async def test_compression(self) -> None:
        """Compression behind the login."""
        out, agreed = await self.echo(DATA, compression_algs=["zlib@openssh.com"])
        self.assertEqual((out == DATA, agreed["send_compression"]), (True, "zlib@openssh.com"))

    async def test_new_keys(self) -> None:
        """The client wants them every 256 kB, the server every 300, while data goes both ways."""
        self.patch(ServerTransport, "rekey_limits", RekeyLimits(300_000))
        for cipher in ("aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr"):
            out, _ = await self.echo(DATA, rekey_bytes=256 << 10, encryption_algs=[cipher])
            self.assertTrue(out == DATA)


class ParamikoTests(OpenSSHCase):
    async def echo(self, data: bytes, cipher: str, rekey: bool = False) -> bytes:
        """What ``cat`` makes of ``data``."""
        done: bytes = await deferToThread(self._echo, data, cipher, rekey)
        return done

    def _echo(self, data: bytes, cipher: str, rekey: bool) -> bytes:
        key = paramiko.Ed25519Key.from_private_key_file(str(self.folder / "key"))
        key.load_certificate(str(self.folder / "key-cert.pub"))
        transport = paramiko.Transport(("127.0.0.1", self.port))
        try:
            transport.get_security_options().ciphers = (cipher,)
            transport.connect(username=USER, pkey=key)
            channel = transport.open_session()
            channel.exec_command("cat")
            out = b""
            for at in range(0, len(data), 30_000):
                channel.sendall(data[at : at + 30_000])
                if rekey:
                    transport.renegotiate_keys()
                while len(out) < min(len(data), at + 30_000):
                    out += channel.recv(1 << 16)
            channel.shutdown_write()
            self.assertEqual(channel.recv_exit_status(), 0)
            return out
        finally:
            transport.close()

    async def test_ciphers(self) -> None:
        """Every cipher that both know."""
        known = set(paramiko.Transport._preferred_ciphers)
        common = [cipher.decode() for cipher in algorithms.CIPHERS if cipher.decode() in known]
        self.assertGreaterEqual(len(common), 3)
        for cipher in common:
            self.assertEqual(await self.echo(b"hello", cipher), b"hello")

    async def test_new_keys(self) -> None:
        """The client exchanges keys between any two pieces."""
        data = DATA[:300_000]
        self.assertTrue(await self.echo(data, "aes128-ctr", rekey=True) == data)
