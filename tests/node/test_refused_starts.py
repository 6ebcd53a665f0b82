"""What a guest is refused after the login is in the audit log and in the service's, as a refused login is."""

from __future__ import annotations

from typing import cast

from attrs import evolve
from twisted.logger import capturedLogs

from teleport_conch import wire
from teleport_conch.node.guest import MAX_SESSIONS
from tests.node.guests import CLIENT, USER, NodeCase, certificate


class RefusedStartTests(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        capturing = capturedLogs()
        self.logged = capturing.__enter__()
        self.addCleanup(capturing.__exit__, None, None, None)

    def assert_told(self, called: str, code: str, sentence: str, **fields: object) -> None:
        """Both logs say who was refused what as whom from where, and why."""
        event = self.events.last(called)
        facts = {"user": "alice", "login": USER, "addr.remote": CLIENT, "error": sentence, **fields}
        self.assertEqual({key: event.get(key) for key in facts}, facts)
        self.assertEqual((event["code"], event["success"]), (code, False))
        lines = [each for each in self.logged if each.get("refused") == called and each.get("why") == sentence]
        self.assertEqual([(line["user"], line["login"], line["client"]) for line in lines], [("alice", USER, CLIENT)])

    async def refuse(self, request: bytes, payload: bytes = b"", terminal: bool = False) -> str:
        """What the client reads on stderr."""
        channel = await self.session()
        if terminal:
            self.pty(channel)
        self.assertTrue(self.ask(channel, request, payload))
        out, err, code = self.outcome(await self.until_closed())
        self.assertEqual((out, code), ("", 255))
        return err.removesuffix("\r\n")

    async def test_terminal(self) -> None:
        """A certificate without permit-pty."""
        await self.enter(certificate(without=["permit-pty"]))
        sentence = await self.refuse(b"shell", terminal=True)
        self.assertEqual(sentence, "The certificate does not permit a terminal.")
        self.assert_told("session.start", "T2000W", sentence, interactive=True)
        self.assertEqual(self.events.names(), ["auth", "session.start"])
        self.assertEqual(len(str(self.events.last("session.start")["sid"])), 36)

    async def test_subsystem(self) -> None:
        """A subsystem that the node does not have."""
        await self.enter()
        sentence = await self.refuse(b"subsystem", wire.text("netconf"))
        self.assertEqual(sentence, "This node has the subsystem sftp, and no other.")
        self.assert_told("session.start", "T2000W", sentence, name="netconf", interactive=False)

    async def test_role(self) -> None:
        """A role that fitted at the login, and no longer does; the event says role by role why."""
        await self.enter()
        channel = await self.session()
        self.give()
        self.assertTrue(self.ask(channel, b"exec", wire.text("id")))
        sentence = self.outcome(await self.until_closed())[1].strip()
        self.assert_told("session.start", "T2000W", sentence, command="id")
        self.assertIn("trace", self.events.last("session.start"))

    async def test_opening(self) -> None:
        """The same, when the channel for a session is asked for."""
        await self.enter()
        self.give()
        _, sentence = await self.open_refused(b"session")
        self.assert_told("session.start", "T2000W", sentence)

    async def test_account_is_gone(self) -> None:
        """An account that was there at the login, and was removed since."""
        guest = await self.enter(certificate(logins=[USER, "nosuchaccount"]))
        guest.account = evolve(guest.account, name="nosuchaccount")
        sentence = await self.refuse(b"exec", wire.text("id"))
        self.assertEqual(sentence, "There is no account nosuchaccount on this host.")
        self.assert_told("session.start", "T2000W", sentence, command="id")

    async def test_account_is_another(self) -> None:
        """A name that was given to somebody else since the login."""
        guest = await self.enter()
        guest.account = evolve(guest.account, uid=guest.account.uid + 1)
        sentence = await self.refuse(b"exec", wire.text("id"))
        self.assertEqual(sentence, f"The account {USER} is not the one that it was at the login: log in again.")
        self.assert_told("session.start", "T2000W", sentence, command="id")

    async def test_agent(self) -> None:
        """An agent that the certificate does not permit."""
        await self.enter(certificate(without=["permit-agent-forwarding"]))
        self.assertFalse(self.ask(await self.session(), b"auth-agent-req@openssh.com"))
        self.assert_told("agent-forward", "TJ031W", "The certificate does not permit agent forwarding.")

    async def test_agent_permitted(self) -> None:
        """One that is permitted is an event, too."""
        await self.enter()
        self.assertTrue(self.ask(await self.session(), b"auth-agent-req@openssh.com"))
        event = self.events.last("agent-forward")
        self.assertEqual((event["code"], event["user"], event["login"]), ("TJ031I", "alice", USER))

    async def test_connection(self) -> None:
        """A connection: the event is there already, and the service's log says it as well."""
        await self.enter(certificate(without=["permit-port-forwarding"]))
        where = wire.text("127.0.0.1") + wire.uint32(80) + wire.text("127.0.0.1") + wire.uint32(1)
        _, sentence = await self.open_refused(b"direct-tcpip", where)
        self.assert_told("port", "T3003E", sentence, addr="127.0.0.1:80")

    async def test_too_many(self) -> None:
        """The limit on the sessions of a connection."""
        await self.enter()
        for _ in range(MAX_SESSIONS):
            await self.session()
        _, sentence = await self.open_refused(b"session")
        event = self.events.last("session.rejected")
        self.assertEqual((event["code"], event["reason"], event["max"]), ("T1006W", sentence, MAX_SESSIONS))
        self.assertEqual((event["user"], event["login"], event["addr.remote"]), ("alice", USER, CLIENT))
        self.assertNotIn("session.start", cast(list[str], self.events.names()))
