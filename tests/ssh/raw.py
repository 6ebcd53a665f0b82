"""A client that says to a server of ours whatever the test likes, without keys and without manners."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.ssh.transport.kex import METHODS
from teleport_conch.ssh.transport.negotiation import STRICT_CLIENT, EachWay, KexInit
from teleport_conch.ssh.transport.packets import PacketReader, PacketWriter
from tests.ssh.ends import Ends

OFFERED = KexInit(
    bytes(16),
    (b"curve25519-sha256",),
    (b"ssh-ed25519",),
    EachWay((b"aes128-ctr",), (b"aes128-ctr",)),
    EachWay((b"hmac-sha2-256",), (b"hmac-sha2-256",)),
    EachWay((b"none",), (b"none",)),
)
STRICT = evolve(OFFERED, kex=(*OFFERED.kex, STRICT_CLIENT))
POINT = METHODS[b"curve25519-sha256"].start().public


class Raw:
    """A client without keys, which says what it likes to a server of ours."""

    def __init__(self) -> None:
        self.ends = Ends()
        self.server, self.tcp = self.ends.server, self.ends.server_tcp
        self.writer, self.reader = PacketWriter(), PacketReader()
        self.reader.feed(self.tcp.take().partition(b"\r\n")[2])
        self.say_bytes(b"SSH-2.0-raw\r\n")

    def say_bytes(self, data: bytes) -> None:
        self.server.dataReceived(data)

    def say(self, number: int, content: bytes = b"") -> None:
        self.say_bytes(self.writer.pack(number, content))

    def offer(self, offered: KexInit = OFFERED) -> None:
        self.say(20, offered.to_payload()[1:])

    def heard(self) -> list[tuple[int, bytes]]:
        """What the server has said so far; what is encrypted is left out."""
        self.reader.feed(self.tcp.take())
        heard = []
        while (message := self.reader.next()) is not None:
            heard.append(message)
            if message[0] == 21:
                break
        return heard
