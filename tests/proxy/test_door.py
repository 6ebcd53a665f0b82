"""Who is let in at the proxy, and what they may do there: be connected to a node, and nothing else.

Certificates are real ones. The numbers in the names of tests are those of the project's list of attacks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import errors, wire
from teleport_conch.access.directory import Directory
from teleport_conch.access.known import Known
from teleport_conch.access.locks import Locks
from teleport_conch.certs.certificate import SSHCertificate, option
from teleport_conch.company import Company
from teleport_conch.errors import AccessDenied, ConnectionProblem, TeleportError
from teleport_conch.proxy.dialing import Dialer, NodeChannel, NodeStream
from teleport_conch.proxy.door import DoorPolicy, Router, Visitor
from teleport_conch.proxy.outside import OutsideHosts
from teleport_conch.proxy_protocol import Address
from teleport_conch.resources.server import Presence, Server, State
from teleport_conch.ssh.connection.channel import ChannelRefused
from teleport_conch.ssh.factory import ServerFactory
from teleport_conch.ssh.login.policy import Attempt, Claim
from teleport_conch.ssh.session.channel import SessionChannel, SessionStart
from teleport_conch.wire import WireError
from tests.audit.recorder import EventRecorder
from tests.certs import samples
from tests.references import unreferenced
from tests.ssh.in_memory import Pair, sample_host_keys
from tests.ssh.logins import ed25519_client
from tests.ssh.recording import RecordingLink

WEB1 = Server(
    kind="node",
    name="00000001-0000-4000-8000-000000000000",
    hostname="web1",
    addr="10.0.0.1:3022",
    labels={"env": "prod"},
    presence=Presence(State.ONLINE),
)
WEB2 = evolve(WEB1, name="00000002-0000-4000-8000-000000000000", hostname="web2", addr="10.0.0.2:3022")
UNKNOWN_UUID = "99999999-0000-4000-8000-000000000000"
ALICE = {"user": "alice", "login": "root", "addr.remote": "192.0.2.7:50000"}
NO_SHELL = "There are no shells on the proxy. Name a node: ssh -J PROXY LOGIN@NODE."


@define
class SampleCluster:
    """What the proxy knows."""

    listed: list[Server] = field(factory=lambda: [WEB1, WEB2])
    directory: Directory = field(factory=Directory)
    locks: Locks = field(factory=Locks)

    def nodes(self) -> Sequence[Server]:
        return self.listed

    def known(self) -> Known:
        return Known(samples.CLUSTER, self.directory, self.locks)

    def user_authorities(self) -> Collection[bytes]:
        return samples.USER_CA.public().ssh_keys

    def cluster_name(self) -> str:
        return samples.CLUSTER


@define
class RecordingDialer:
    """Takes down what is dialled; a test of its own lets the real one dial."""

    reactor: Clock
    problem: TeleportError | None = None
    dialled: list[tuple[object, ...]] = field(factory=list)

    async def dial_node(self, stream: NodeStream, node: str, address: str, client: Address) -> None:
        self._dial("node", node, address, client)

    async def dial_host(self, stream: NodeStream, host: str, port: int) -> None:
        self._dial("host", host, port)

    def _dial(self, *what: object) -> None:
        self.dialled.append(what)
        if self.problem is not None:
            raise self.problem


@define
class Names:
    """A resolver that takes down what it is asked."""

    asked: list[str] = field(factory=list)

    async def addresses(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return {"old.example": ["10.20.0.1"], "far.example": ["198.51.100.1"]}.get(host, [])


class DoorCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(samples.NOW)
        self.cluster, self.events, self.names = SampleCluster(), EventRecorder(), Names()
        self.dialer = RecordingDialer(self.clock)
        self.allow()

    def allow(self, *rules: str) -> None:
        """With these networks and names in ``proxy_service.unregistered_hosts``."""
        outside = OutsideHosts(rules, self.names)
        self.router = Router(self.cluster, cast(Dialer, self.dialer), outside, self.events.emit)
        self.company = Company(self.clock, self.cluster.known)
        self.policy = DoorPolicy(self.clock, self.cluster, self.router, self.company, self.events.emit)
        self.visitor = Visitor(self.claim(), self.router, self.company)

    def claim(
        self, certificate: SSHCertificate | None = None, user: str = "root", address: str = "192.0.2.7:50000"
    ) -> Claim:
        return Claim(user, certificate or samples.user_certificate(), address)


class PolicyTests(DoorCase):
    def refused(self, kind: type[TeleportError], certificate: SSHCertificate, says: str, address: str = "") -> None:
        claim = self.claim(certificate, address=address or "192.0.2.7:50000")
        refusal = self.assertRaises(kind, self.policy.check, claim)
        self.assertIn(says, refusal.sentence)
        login = Deferred.fromCoroutine(self.policy.login(claim))
        self.assertEqual(self.failureResultOf(login, kind).value.sentence, refusal.sentence)

    def test_any_user_name(self) -> None:
        """The proxy has no logins: the certificate counts, and none of its principals has to be the user name."""
        for user in ("root", "alice", "nobody-is-called-so", "proxy", "-teleport-", "$(id)"):
            self.policy.check(self.claim(user=user))
            visitor = self.successResultOf(Deferred.fromCoroutine(self.policy.login(self.claim(user=user))))
            self.assertEqual(visitor.claim.user, user)

    def test_40_no_principals(self) -> None:
        """But it has to have some."""
        certificate = samples.user_certificate(principals=())
        self.refused(errors.CertificatePrincipal, certificate, "The certificate has no principals")

    def test_42_host_certificate(self) -> None:
        certificate = samples.host_certificate()
        self.refused(errors.CertificateType, certificate, "A user certificate is due, and this is a host certificate.")

    def test_43_foreign_authorities(self) -> None:
        """Another cluster's users, and what our own authority for hosts says of users."""
        for authority in (samples.OTHER_USER_CA, samples.HOST_CA):
            certificate = authority.ssh_keys[0].sign(samples.user_certificate())
            self.refused(errors.CertificateAuthorityUnknown, certificate, "an authority that is not trusted here")

    def test_45_times(self) -> None:
        now = int(samples.NOW)
        expired = samples.user_certificate(valid_before=now - 7)
        self.refused(errors.CertificateExpired, expired, "The certificate expired 7 seconds ago")
        early = samples.user_certificate(valid_after=now + 7)
        self.refused(errors.CertificateNotYetValid, early, "The certificate becomes valid in 7 seconds")

    def test_46_unknown_option(self) -> None:
        certificate = samples.user_certificate(critical_options=(option("only-on-sundays"),))
        self.refused(errors.CertificateCriticalOption, certificate, "only-on-sundays")

    def test_47_source_address(self) -> None:
        """It is the client's address that counts, of either family."""
        certificate = samples.user_certificate(
            critical_options=(option("source-address", "192.0.2.0/24,2001:db8::/32"),)
        )
        for address in ("192.0.2.7:50000", "[2001:db8::7]:50000", "[::ffff:192.0.2.7]:50000"):
            self.policy.check(self.claim(certificate, address=address))
        for address in ("192.0.3.7:50000", "[2001:db9::7]:50000", "?:0"):
            self.refused(errors.CertificateSourceAddress, certificate, "", address)

    def test_49_force_command(self) -> None:
        """A certificate for one command runs it on a node, and is not to be led on to others."""
        certificate = samples.user_certificate(critical_options=(option("force-command", "date"),))
        self.refused(
            AccessDenied, certificate, "This certificate is for one command on one host; it opens no door here."
        )

    def test_event(self) -> None:
        """A refusal is an event."""
        self.policy.refused(self.claim(user="bob"), errors.CertificateExpired("It has expired."))
        [(name, code, fields)] = self.events.take()
        self.assert_trace(fields.pop("trace"), "CERT_EXPIRED")
        self.assertRegex(str(fields.pop("reference")), "^[0-9a-z]{8}$")
        self.assertEqual(
            (name, code, fields), ("auth", "T3007W", {**ALICE, "login": "bob", "error": "It has expired."})
        )

    def assert_trace(self, trace: object, code: str) -> None:
        """It says which check of the certificate decided."""
        assert isinstance(trace, list | tuple)
        self.assertTrue(trace[0].startswith("certificate of alice, serial "), trace)
        self.assertTrue(trace[4].startswith("time: from "), trace)
        self.assertTrue(trace[4].endswith(f": refused, {code}"), trace)

    def test_event_of_a_stranger(self) -> None:
        """So is that of a certificate which nobody can read; it names nobody."""
        self.policy.refused(Attempt("bob", "192.0.2.7:50000"), errors.CertificateMalformed("It is torn."))
        facts = {**ALICE, "user": "", "login": "bob", "error": "It is torn."}
        [(_, code, fields)] = self.events.take()
        self.assertEqual((code, fields), ("T3007W", {**facts, "reference": fields["reference"]}))


class LoginTests(DoorCase):
    """With the server that asks the policy, and Conch's client."""

    def pair(self) -> Pair:
        return Pair(factory=ServerFactory(self.clock, self.policy, sample_host_keys()))

    def log_in(self, pair: Pair, certificate: SSHCertificate, user: bytes) -> None:
        pair.begin_authentication()
        assert pair.client.sessionID is not None
        pair.send(50, ed25519_client(certificate).request(user, session_id=pair.client.sessionID))

    def test_accepted(self) -> None:
        pair = self.pair()
        self.log_in(pair, samples.user_certificate(), b"whoever")
        self.assertIn((52, b""), pair.client.got)
        self.assertEqual(self.events.take(), [])

    def test_refused(self) -> None:
        """The person reads why before anything else happens, and the cluster hears of it."""
        pair = self.pair()
        self.log_in(pair, samples.user_certificate(valid_before=int(samples.NOW)), b"root")
        self.clock.advance(1)
        pair.pump()
        sentence = "The certificate expired 0 seconds ago; get a new one, or compare the clocks."
        [(_, code, fields)] = self.events.take()
        self.assertIn("time: from ", str(fields.pop("trace")))
        reference = fields["reference"]
        banner = (53, wire.text(f"{sentence} (reference {reference})\r\n") + wire.text("en"))
        self.assertEqual(pair.client.got[-2:], [banner, (51, wire.string(b"publickey") + b"\0")])
        self.assertEqual((code, fields), ("T3007W", {**ALICE, "error": sentence, "reference": reference}))
        self.assertEqual(self.dialer.dialled, [])


class DirectTests(DoorCase):
    """``direct-tcpip``, as ``ssh -J`` asks for it."""

    def open(self, host: str, port: int = 22) -> Deferred[object]:
        payload = wire.text(host) + wire.uint32(port) + wire.text("127.0.0.1") + wire.uint32(65535)
        return Deferred.fromCoroutine(self.visitor.open_channel(b"direct-tcpip", payload))

    def assert_refused(self, opening: Deferred[object], reason: int, sentence: str) -> None:
        refusal = self.failureResultOf(opening, ChannelRefused).value
        self.assertEqual((refusal.reason, unreferenced(refusal.sentence)), (reason, sentence))

    def test_node(self) -> None:
        """The node's UUID, its address, and the client's, who is named in the event as well."""
        channel = self.successResultOf(self.open("web1"))
        self.assertIsInstance(channel, NodeChannel)
        self.assertEqual(self.dialer.dialled, [("node", WEB1.name, WEB1.addr, ("192.0.2.7", 50000))])
        node = {"target": "web1:22", "node_id": WEB1.name, "node_name": "web1"}
        self.assertEqual(self.events.take(), [("proxy.connect", "TJ030I", {**ALICE, **node})])

    def test_client_address(self) -> None:
        """An IPv6 client is one, too."""
        self.visitor = Visitor(self.claim(address="[2001:db8::7]:50000"), self.router, self.company)
        self.successResultOf(self.open("web1"))
        self.assertEqual(self.dialer.dialled[0][3], ("2001:db8::7", 50000))

    def test_unknown(self) -> None:
        """The refusal is that of the channel, and an event; nothing is dialled, and no name is looked up."""
        sentence = 'no node is called "nowhere.example.net", and no label or address is that'
        self.assert_refused(self.open("nowhere.example.net"), 2, sentence)
        fields = {**ALICE, "target": "nowhere.example.net:22", "error": sentence}
        self.assertEqual(self.events.take(), [("proxy.connect", "TJ030W", fields)])
        self.assertEqual((self.dialer.dialled, self.names.asked), ([], []))

    def test_ambiguous(self) -> None:
        opening = self.open("env=prod")
        sentence = self.failureResultOf(opening, ChannelRefused).value.sentence
        self.assertTrue(sentence.startswith('"env=prod" may be any of these, say which by its UUID: web1 '))
        self.assertEqual([code for _, code, _ in self.events.take()], ["TJ030W"])

    def test_unreachable(self) -> None:
        """What goes wrong with the node is said, and which node it was."""
        self.dialer.problem = ConnectionProblem("10.0.0.1:3022 cannot be reached: Connection refused.")
        self.assert_refused(self.open("web1"), 2, self.dialer.problem.sentence)
        node = {"target": "web1:22", "node_id": WEB1.name, "node_name": "web1", "error": self.dialer.problem.sentence}
        self.assertEqual(self.events.take(), [("proxy.connect", "TJ030W", {**ALICE, **node})])

    def test_66_the_proxy_itself(self) -> None:
        """Nobody reaches what listens on the proxy's host, or beside it."""
        for host in ("127.0.0.1", "::1", "169.254.169.254", "localhost", "0.0.0.0"):
            for port in (22, 3025, 80):
                refusal = self.failureResultOf(self.open(host, port), ChannelRefused).value
                self.assertIn(f'no node is called "{host}"', refusal.sentence)
        self.assertEqual((self.dialer.dialled, self.names.asked), ([], []))

    def test_outside(self) -> None:
        """Hosts that the configuration names are dialled by the address that was checked, and get no header."""
        self.allow("10.20.0.0/16")
        self.successResultOf(self.open("old.example", 2222))
        self.assertEqual(self.dialer.dialled, [("host", "10.20.0.1", 2222)])
        self.assertEqual(self.events.take(), [("proxy.connect", "TJ030I", {**ALICE, "target": "old.example:2222"})])

    def test_outside_denied(self) -> None:
        """Others are refused, for another reason than that they are unknown."""
        self.allow("10.20.0.0/16")
        sentence = '"far.example" is no node, and proxy_service.unregistered_hosts does not allow it.'
        self.assert_refused(self.open("far.example"), 1, sentence)
        self.assertEqual(self.dialer.dialled, [])

    def test_outside_unknown(self) -> None:
        """A name that no host has either is a node's name that was mistyped."""
        self.allow("10.20.0.0/16")
        refusal = self.failureResultOf(self.open("web3"), ChannelRefused).value
        self.assertIn('no node is called "web3", and no label or address is that. Similar: web1', refusal.sentence)
        self.assertEqual(self.names.asked, ["web3"])

    def test_nodes_first(self) -> None:
        """A node is a node, whatever else its name leads to."""
        self.cluster.listed.append(evolve(WEB1, name=UNKNOWN_UUID, hostname="old.example", addr="10.0.0.9:3022"))
        self.allow("10.20.0.0/16")
        self.successResultOf(self.open("old.example"))
        self.assertEqual((self.dialer.dialled[0][0], self.names.asked), ("node", []))

    def test_what_is_a_nodes_only(self) -> None:
        """UUIDs, labels and names that several nodes have are not looked up as the names of hosts."""
        self.allow("0.0.0.0/0")
        for host in (UNKNOWN_UUID, UNKNOWN_UUID.upper(), f"{UNKNOWN_UUID}.{samples.CLUSTER}", "env=none", "env=prod"):
            self.failureResultOf(self.open(host), ChannelRefused)
        self.assertEqual((self.dialer.dialled, self.names.asked), ([], []))

    def test_malformed(self) -> None:
        """A request that is none ends the connection, which is the engine's to do."""
        opening = Deferred.fromCoroutine(self.visitor.open_channel(b"direct-tcpip", b"\0\0\0\1"))
        self.failureResultOf(opening, WireError)

    def test_other_channels(self) -> None:
        for kind in (b"x11", b"forwarded-tcpip", b"auth-agent@openssh.com", b"tun@openssh.com", b""):
            opening: Deferred[object] = Deferred.fromCoroutine(self.visitor.open_channel(kind, b""))
            self.assert_refused(opening, 3, "The proxy connects to nodes, and does nothing else.")


class SessionTests(DoorCase):
    """Sessions on the proxy: only the subsystem that leads to a node."""

    def setUp(self) -> None:
        super().setUp()
        opened = self.successResultOf(Deferred.fromCoroutine(self.visitor.open_channel(b"session", b"")))
        assert isinstance(opened, SessionChannel)
        self.channel, self.link = opened, RecordingLink()
        self.channel.bind(self.link, 0)
        self.channel.connect(7, 1 << 20, 1 << 15)

    def ask(self, name: bytes, payload: bytes = b"") -> bool:
        granted: bool = self.successResultOf(Deferred.fromCoroutine(self.channel.request_received(name, payload)))
        self.channel.request_answered(name)
        return granted

    def assert_told(self, sentence: str) -> None:
        """The person reads it on stderr, and the command has failed."""
        self.assertEqual(self.link.data_of(1), f"{sentence}\r\n".encode())
        self.assertIn(("request", b"exit-status", wire.uint32(255)), self.link.said)
        self.assertEqual(self.link.said[-2:], [("eof",), ("close",)])

    def test_shell(self) -> None:
        self.ask(b"shell")
        self.assert_told(NO_SHELL)

    def test_exec(self) -> None:
        self.ask(b"exec", wire.text("id"))
        self.assert_told(NO_SHELL)

    def test_other_subsystems(self) -> None:
        self.ask(b"subsystem", wire.text("sftp"))
        self.assert_told(NO_SHELL)

    def test_not_even_called_so(self) -> None:
        """A command, or a shell, that is called like the subsystem is none."""
        for kind, command in (("exec", "proxy:web1:22"), ("shell", "proxy:web1:22"), ("subsystem", "proxysites")):
            starting = Deferred.fromCoroutine(self.visitor.start(SessionStart(kind, command), self.channel))
            self.assertEqual(self.failureResultOf(starting, AccessDenied).value.sentence, NO_SHELL)
        self.assertEqual(self.dialer.dialled, [])

    def test_bad_form(self) -> None:
        self.ask(b"subsystem", wire.text("proxy:web1:x"))
        self.assert_told("invalid format for proxy request: \"proxy:web1:x\", expected 'proxy:host:port@cluster'")

    def test_unknown_cluster(self) -> None:
        """Hosts of other clusters are not looked up here, also where hosts that are no nodes may be dialled."""
        self.allow("0.0.0.0/0")
        starting = Deferred.fromCoroutine(
            self.visitor.start(SessionStart("subsystem", "proxy:old.example:22@other.example"), self.channel)
        )
        refusal = self.failureResultOf(starting, errors.NotFound).value
        self.assertEqual(refusal.sentence, 'invalid format for proxy request: unknown cluster "other.example"')
        self.assertEqual((self.dialer.dialled, self.names.asked), ([], []))

    def test_unknown(self) -> None:
        sentence = 'no node is called "nowhere.example.net" with port 80, and no label or address is that'
        self.ask(b"subsystem", wire.text("proxy:nowhere.example.net:80"))
        self.assert_told(sentence)
        fields = {**ALICE, "target": "nowhere.example.net:80", "error": sentence}
        self.assertEqual(self.events.take(), [("proxy.connect", "TJ030W", fields)])

    def test_node(self) -> None:
        self.assertTrue(self.ask(b"subsystem", wire.text(f"proxy:web2:3022@{samples.CLUSTER}")))
        self.assertEqual(self.dialer.dialled, [("node", WEB2.name, WEB2.addr, ("192.0.2.7", 50000))])
        self.assertEqual(self.link.said, [])

    def test_nothing_else(self) -> None:
        """No variables, no agent, no forwarding; a client that asks whether the proxy is there is answered."""
        self.assertFalse(self.ask(b"env", wire.text("LANG") + wire.text("C")))
        self.assertFalse(self.ask(b"auth-agent-req@openssh.com"))
        self.assertFalse(self.ask(b"x11-req"))
        refusal = Deferred.fromCoroutine(self.visitor.global_request(b"tcpip-forward", b""))
        self.assertEqual(self.failureResultOf(refusal, AccessDenied).value.sentence, "The proxy listens for nobody.")
        answer = Deferred.fromCoroutine(self.visitor.global_request(b"keepalive@openssh.com", b""))
        self.assertEqual(self.successResultOf(answer), b"")
