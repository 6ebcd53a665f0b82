"""An agent that our client offers to the programs of OpenSSH's ``sshd``: at a socket, or keys in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from attrs import evolve
from twisted.internet import reactor as installed_reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IReactorUNIX

from teleport_conch.certs import keys
from teleport_conch.ssh.client.agent_offer import AgentOffer, KeysAgent, SocketAgent
from teleport_conch.ssh.client.session import Ending, Finished
from tests.interop.openssh_server import KEY_TYPES, certify, make_key, start_agent
from tests.interop.our_client import ClientCase
from tests.interop.programs import check, run
from tests.interop.requirements import require


class AgentTests(ClientCase):
    async def at_server(self, offer: AgentOffer, command: str) -> Finished:
        """What a command says there."""
        return await (await self.connected(evolve(self.options(), agent=offer))).run(command)

    def socket(self, *names: str) -> tuple[Path, SocketAgent]:
        """An ``ssh-agent`` with these keys."""
        path = start_agent(self, self.folder, *(self.folder / name for name in names))
        return path, SocketAgent(UNIXClientEndpoint(cast(IReactorUNIX, installed_reactor), str(path)))

    async def test_socket(self) -> None:
        """Keys of each type can be listed and signed with, again and again on one connection."""
        self.server.start(self)
        names = [f"agent_{kind}" for kind in KEY_TYPES]
        lines = [make_key(self.folder / name, kind) for name, kind in zip(names, KEY_TYPES, strict=True)]
        _, offer = self.socket(*names)
        files = " ".join(f"{self.folder}/{name}.pub" for name in names)
        done = await self.at_server(offer, f"ssh-add -L && ssh-add -T {files} && ssh-add -L")
        self.assertEqual(done.ending, Ending(0), done.err)
        self.assertEqual([line.split()[1] for line in done.out.decode().splitlines()],
                         [line.split()[1] for line in lines] * 2)  # fmt: skip

    async def test_keys_in_memory(self) -> None:
        """Likewise, and on from there: ``sshd`` lets in whom a program of it proves to be with our certificate."""
        self.server.start(self)
        make_key(self.folder / "held")
        certify(self.folder / "user_ca", self.folder / "held.pub", "-n", self.user, "-V", "-1m:+1h")
        offer = KeysAgent([self.identity("held", self.folder / "held-cert.pub")])
        hop = (
            f"ssh -F /dev/null -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o BatchMode=yes"
            f" -p {self.server.port} {self.user}@127.0.0.1 echo there"
        )
        done = await self.at_server(offer, hop)
        self.assertEqual((done.out, done.ending), (b"there\n", Ending(0)), done.err)

    @property
    def user(self) -> str:
        return self.options().credentials.user

    async def test_constrained(self) -> None:
        """A key that is for one destination only is no use on another, as the agent hears where it is forwarded to."""
        self.server.start(self)
        make_key(self.folder / "free")
        make_key(self.folder / "bound")
        path, offer = self.socket("free")
        known = self.folder / "known"
        known.write_text(f"elsewhere {self.server.public('user_ca')}\n")  # any key but that of this server
        words = ("-q", "-h", "elsewhere", "-H", str(known), str(self.folder / "bound"))
        check(run(require("ssh-add", "openssh-client"), *words, env={"SSH_AUTH_SOCK": str(path), "PATH": os.defpath}))
        listed = await self.at_server(offer, "ssh-add -L")
        self.assertEqual(listed.out.split()[1].decode(), self.blob("free"))
        self.assertEqual(len(listed.out.splitlines()), 1)

    def blob(self, name: str) -> str:
        return keys.public_line(self.identity(name).blob).split()[1]

    async def test_refused(self) -> None:
        """A server that forwards no agents, and a session that goes on without."""
        self.server.start(self, AllowAgentForwarding="no")
        done = await self.at_server(KeysAgent([self.identity()]), "echo ${SSH_AUTH_SOCK-none}")
        self.assertEqual((done.out, done.ending), (b"none\n", Ending(0)))

    async def test_no_agent(self) -> None:
        """Where the agent has gone, programs there hear that there is none."""
        self.server.start(self)
        offer = SocketAgent(UNIXClientEndpoint(cast(IReactorUNIX, installed_reactor), f"{self.folder}/nothing"))
        done = await self.at_server(offer, "ssh-add -L")
        self.assertNotEqual(done.ending, Ending(0))
