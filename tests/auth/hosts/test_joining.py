"""How hosts come into the cluster, and what is said to those that do not."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from teleport_conch.auth import limits
from teleport_conch.auth.hosts.tokens import static_token
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.certs.tls import load_certificate_pem
from teleport_conch.certs.trust import check_ssh_certificate, check_tls_certificate
from teleport_conch.errors import (
    BadParameter,
    HostDuplicate,
    JoinRefused,
    LimitExceeded,
    NotBuilt,
    PrincipalForbidden,
    PrincipalTaken,
    TeleportError,
    TokenBinding,
    TokenExpired,
    TokenRole,
    TokenUnknown,
)
from teleport_conch.resources.joining import JoinAnswer, JoinRequest
from tests.auth.fixture import ADDRESS, CLUSTER, GATEWAY, NOW, SSH_KEY, TLS_KEY, WEB1, WEB2, ClusterTestCase, Storage

DAY_S = 86_400.0


def principals(answer: JoinAnswer) -> tuple[str, ...]:
    return SSHCertificate.from_line(answer.ssh_certificate).principals


class JoinTestCase(ClusterTestCase):
    def refuses(
        self, kind: type[TeleportError], request: JoinRequest | None = None, address: str = ADDRESS
    ) -> TeleportError:
        """Why a host is not let in."""
        return self.refused(self.cluster.joining.register(request or self.request(), address), kind)

    def asking(self, *names: str, uuid: str = WEB1, name: str = "web1", token: str = "") -> list[JoinRequest]:
        """Requests for names in either certificate."""
        return [
            self.request(uuid, name, token=token, principals=names),
            self.request(uuid, name, token=token, dns_names=names),
        ]


class AdmissionTests(JoinTestCase):
    def test_certificates(self) -> None:
        """The host gets both certificates over its own keys, for 30 days, and both authorities without secrets."""
        answer = self.register(self.request(principals=("10.0.0.5", "db.example.org")))
        authorities = [PublicAuthority.from_json(each) for each in answer.authorities]
        self.assertEqual([each.kind for each in authorities], ["user", "host"])
        self.assertNotIn("signing_keys", str(answer.authorities))
        ssh = SSHCertificate.from_line(answer.ssh_certificate)
        names = [f"{WEB1}.{CLUSTER}", WEB1, f"web1.{CLUSTER}", "web1", "10.0.0.5", "db.example.org"]
        for name in names:
            check_ssh_certificate(
                ssh,
                type=CertificateType.HOST,
                authorities=authorities[1].ssh_keys,
                now=NOW + 30 * DAY_S - 1,
                principal=name,
                source_address=None,
            )
        self.assertCountEqual(ssh.principals, names)
        self.assertEqual(keys.public_line(ssh.public_key), SSH_KEY)
        tls = load_certificate_pem(answer.tls_certificate)
        identity = check_tls_certificate(tls, self.cluster.authorities.trusted, NOW)
        self.assertEqual((identity.kind, identity.name, identity.roles), ("host", WEB1, ("Node",)))
        self.assertEqual(keys.public_pem(tls.public_key()), TLS_KEY)  # type: ignore[arg-type]  # the key sent
        self.assertEqual(identity.not_after, NOW + 30 * DAY_S)

    def test_record(self) -> None:
        """Which token, who made it, from where, when: in the list and in the event; the secret is nowhere."""
        secret = self.token(created_by="carol")
        self.register(self.request(token=secret))
        self.beat()
        identity = self.token_id(secret)
        server = self.cluster.inventory.all("node")[0]
        assert server.join is not None
        self.assertEqual(
            server.join.to_json(), {"token": identity, "token_by": "carol", "address": ADDRESS, "joined": NOW}
        )
        [event] = self.emitted.named("node.join")
        self.assertTrue(event.success)
        self.assertEqual(
            event.fields,
            {
                "node_id": WEB1,
                "node_name": "web1",
                "role": "Node",
                "token": identity,
                "user": "carol",
                "principals": (),
                "addr.remote": ADDRESS,
            },
        )
        self.assertNotIn(secret, str(self.emitted.events))
        for item in self.now(self.backend.range("")):
            self.assertNotIn(secret.encode(), item.value)

    def test_refusals_are_events(self) -> None:
        """A refusal is kept with its code, and with the id of the token where there is one."""
        secret = self.token(roles=("proxy",))
        self.refuses(TokenRole, self.request(token=secret))
        [event] = self.emitted.named("node.join")
        self.assertFalse(event.success)
        self.assertEqual((event.fields["error_code"], event.fields["token"]), ("TOKEN_ROLE", self.token_id(secret)))
        self.assertNotIn(secret, str(event))

    def test_refusals_fill_no_log(self) -> None:
        """Beyond sixty in a minute from one address, refusals are no events any more."""
        for _ in range(70):
            self.refuses(BadParameter, self.request("nonsense"))
        self.assertEqual(len(self.emitted.named("node.join")), 60)

    def test_usual_forms(self) -> None:
        """Names are kept in lower case and without a dot at the end."""
        answer = self.join(name="Web1.")
        self.assertEqual(answer.node_name, "web1")
        self.assertIn("web1", principals(answer))

    def test_static_token(self) -> None:
        """A token of the file lets in every role that it names."""
        self.static_tokens = (static_token(("node", "proxy"), "from-the-file", "configuration", NOW),)
        self.open()
        self.register(self.request(token="from-the-file"))
        self.register(self.request(GATEWAY, "gate", "Proxy", token="from-the-file"))

    def test_address_for_unspecified(self) -> None:
        """A host that asks for 0.0.0.0 gets the address that it comes from."""
        self.assertIn("10.9.9.9", principals(self.register(self.request(principals=("0.0.0.0",)), "10.9.9.9")))


class RefusalTests(JoinTestCase):
    """Threats 90, 92 and 95, and the refusals of Teleport's join protocol."""

    def test_90_tokens(self) -> None:
        """Unknown, expired and of the wrong role, each with its own code."""
        secret = self.token(ttl_s=60.0)
        self.clock.advance(60)
        self.assertEqual(self.refuses(TokenExpired, self.request(token=secret)).code, "TOKEN_EXPIRED")
        self.assertEqual(self.refuses(TokenUnknown, self.request(token="never-was-a-token")).code, "TOKEN_UNKNOWN")
        self.assertEqual(self.refuses(TokenRole, self.request(token=self.token(roles=("proxy",)))).code, "TOKEN_ROLE")

    def test_missing_parameters(self) -> None:
        """What is missing is named."""
        whole = self.request().to_json()
        for key in ("hostID", "node_name", "role", "token", "public_tls_key", "public_ssh_key"):
            for value in (None, ""):
                reason = self.assertRaises(BadParameter, JoinRequest.from_json, {**whole, key: value})
                self.assertEqual(reason.sentence, f"missing parameter request.{key}")

    def test_92_roles(self) -> None:
        """Nobody joins as administrator or as what there is not; auth servers do not join yet."""
        for role in ("Admin", "Nop", "node", "user"):
            self.assertIn(
                "Hosts join with the role Node or Proxy", self.refuses(BadParameter, self.request(role=role)).sentence
            )
        reason = self.refuses(NotBuilt, self.request(role="Auth", token=self.token(roles=("auth",))))
        self.assertIn("Auth servers do not join", reason.sentence)

    def test_95_names(self) -> None:
        """A node name that is no host name gets nowhere: no record, no certificate, an inert refusal."""
        for name in ("$(id)", '"><script>', "web1;reboot", "-oProxyCommand=x", "../x", "web 1", "wéb", "a" * 64):
            with self.subTest(name):
                reason = self.refuses(PrincipalForbidden, self.request(name=name))
                self.assertIn("is not a host name", reason.sentence)
                self.assertTrue(reason.sentence.isprintable())
        self.assertEqual(list(self.cluster.hosts), [])

    def test_reserved_node_names(self) -> None:
        """A node is called neither like the cluster, nor localhost, nor like another host's UUID."""
        for name in (CLUSTER, "localhost", "127.0.0.1", WEB2, "teleport.cluster.local"):
            self.refuses(PrincipalForbidden, self.request(name=name))

    def test_uuids(self) -> None:
        """What is no UUID."""
        for uuid in ("web1", WEB1[:-1], "{" + WEB1 + "}", "../../tokens/x", WEB1.replace("-", "")):
            self.assertIn("A host UUID has the form", self.refuses(BadParameter, self.request(uuid)).sentence)

    def test_keys(self) -> None:
        """Keys that are none, or are too weak, or are certificates."""
        certificate = self.join().ssh_certificate
        for key in ("nonsense", "ssh-ed25519 AAAA", "ssh-dss AAAA", certificate):
            self.refuses(BadParameter, self.request(WEB2, "web2", ssh_key=key))
        pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
        self.refuses(BadParameter, self.request(WEB2, "web2", tls_key=pem))

    def test_92_principals(self) -> None:
        """Names that no host may have are refused whatever the token says."""
        for name in ("*.example.com", "a,b", CLUSTER, "localhost", "x.teleport.cluster.local"):
            for request in self.asking(name):
                self.refuses(PrincipalForbidden, request)

    def test_too_many_failures(self) -> None:
        """After 20 tokens that were none, an address is refused for a minute, even with a good one."""
        for _ in range(limits.FAILED_TOKENS_PER_MINUTE):
            self.refuses(TokenUnknown, self.request(token="never-was-a-token"))
        reason = self.refuses(LimitExceeded)
        self.assertIn(f"Too many failed attempts from {ADDRESS}", reason.sentence)
        self.join(WEB2, "web2", address="10.0.0.6")
        self.clock.advance(60)
        self.join()

    def test_too_many_at_once(self) -> None:
        """At most ten registrations are in progress; the next one is told to try again."""
        waiting: list[Deferred[None]] = []

        async def put(*args: object) -> None:
            waiting.append(Deferred())
            await waiting[-1]

        requests = [self.request(f"{number:08}{WEB1[8:]}", f"web{number}") for number in range(11)]
        self.patch(self.cluster.hosts, "_backend", Storage(self.backend, put))
        joining = [Deferred.fromCoroutine(self.cluster.joining.register(request, ADDRESS)) for request in requests[:10]]
        reason = self.refused(self.cluster.joining.register(requests[10], ADDRESS), LimitExceeded)
        self.assertEqual(
            (reason.http_status, reason.sentence),
            (429, "10 registrations are in progress; try again in a few seconds."),
        )
        for wait in waiting:
            wait.callback(None)
        for each in joining:
            self.successResultOf(each)

    @given(
        st.builds(
            JoinRequest,
            host_uuid=st.one_of(st.just(WEB1), st.text(max_size=40)),
            node_name=st.one_of(st.just("web1"), st.text(max_size=70)),
            role=st.sampled_from(("Node", "Proxy", "Admin", "Auth", "")),
            public_tls_key=st.one_of(st.just(TLS_KEY), st.text(max_size=40)),
            public_ssh_key=st.one_of(st.just(SSH_KEY), st.text(max_size=40)),
            additional_principals=st.lists(st.text(max_size=20), max_size=2).map(tuple),
        )
    )
    def test_anything(self, request: JoinRequest) -> None:
        """Whatever a host with a good token sends, it gets certificates or a refusal of ours."""
        good = evolve(request, token=self.token())
        joining = Deferred.fromCoroutine(self.cluster.joining.register(good, ADDRESS))
        joining.addErrback(lambda failure: failure.trap(JoinRefused, BadParameter, NotBuilt, LimitExceeded))
        self.successResultOf(joining)


class BindingTests(JoinTestCase):
    """What a token binds, the host cannot change."""

    def test_name(self) -> None:
        """Another name is refused, the bound one is let in."""
        secret = self.token(node_name="web1")
        reason = self.refuses(TokenBinding, self.request(name="web2", token=secret))
        self.assertEqual(
            reason.sentence, "The token lets in a host with the name 'web1', and this one is called 'web2'."
        )
        self.assertEqual(reason.facts["token"], self.token_id(secret))
        self.register(self.request(name="WEB1", token=secret))

    def test_principals(self) -> None:
        """The host has what follows from name and UUID and the bound ones, asked for or not, and no others."""
        secret = self.token(principals=("db.example.org", "10.0.0.7"))
        own = {f"{WEB1}.{CLUSTER}", WEB1, f"web1.{CLUSTER}", "web1"}
        for request in self.asking("db.example.org", "evil.example.org", token=secret):
            reason = self.refuses(TokenBinding, request)
            self.assertIn("db.example.org, 10.0.0.7, and this one also asks for evil.example.org", reason.sentence)
        answer = self.register(self.request(token=secret, principals=("db.example.org", "web1")))
        self.assertEqual(set(principals(answer)), own | {"db.example.org", "10.0.0.7"})

    def test_labels(self) -> None:
        """Bound labels are answered, and win over what the host says of itself."""
        answer = self.register(self.request(token=self.token(labels={"env": "staging", "team": "db"})))
        self.assertEqual(answer.labels, {"env": "staging", "team": "db"})
        self.beat()
        self.assertEqual(self.cluster.inventory.all("node")[0].labels, {"env": "staging", "team": "db"})


class NeighbourTests(JoinTestCase):
    """Names and UUIDs that another host has."""

    def test_taken_while_live(self) -> None:
        """Nobody gets a name of a host that is online, late or unknown."""
        self.register(self.request(principals=("db.example.org",)))
        for seconds in (0, 10, 23):  # unknown, online, late
            self.clock.advance(seconds)
            self.cluster.presence.sweep()
            reason = self.refuses(PrincipalTaken, self.request(WEB2, "web1"))
            self.assertIn(f"The node {WEB1} holds the name 'web1.{CLUSTER}' and may be running", reason.sentence)
            self.assertEqual((reason.code, reason.facts["holder"]), ("PRINCIPAL_TAKEN", WEB1))
            for request in self.asking("db.example.org", uuid=WEB2, name="web2"):
                self.refuses(PrincipalTaken, request)
            self.beat()

    def test_rebuilt(self) -> None:
        """Once the old one is offline, a rebuilt host of its name joins, and its identity is another's."""
        self.join()
        self.beat()
        self.clock.advance(60)
        self.cluster.presence.sweep()
        self.assertIn("web1", principals(self.join(WEB2, "web1")))

    def test_names_of_a_proxy(self) -> None:
        """A proxy's names are not for nodes, not even while it is away; another proxy may replace it."""
        self.register(self.request(GATEWAY, "gate", "Proxy", principals=("ssh.example.org",)))
        self.clock.advance(60)
        self.cluster.presence.sweep()
        reason = self.refuses(PrincipalForbidden, self.request(principals=("ssh.example.org",)))
        self.assertEqual(reason.sentence, "The name 'ssh.example.org' is that of a proxy; no node may have it.")
        self.register(self.request(WEB2, "gate2", "Proxy", principals=("ssh.example.org",)))

    def test_92_uuid_of_a_live_host(self) -> None:
        """The UUID of a host that may be there is not given again, not even to the same address."""
        self.join()
        for address in (ADDRESS, "10.0.0.6"):
            reason = self.refuses(HostDuplicate, address=address)
            self.assertEqual((reason.code, reason.http_status), ("HOST_DUPLICATE", 409))
            self.assertIn("wait until it is offline", reason.sentence)

    def test_again_when_offline(self) -> None:
        """A host that lost its identity joins again once it is offline, or said goodbye."""
        self.join()
        self.beat()
        self.cluster.presence.goodbye(next(iter(self.cluster.hosts)).key, "one")
        self.join()

    def test_two_roles_of_one_host(self) -> None:
        """Node and proxy on one machine have one UUID; another machine cannot join to a live one."""
        self.join()
        self.join(role="Proxy")
        self.assertEqual(sorted(host.role for host in self.cluster.hosts), ["Node", "Proxy"])

    def test_92_second_role_from_elsewhere(self) -> None:
        """Who has a token for nodes does not become the double of a proxy."""
        self.join(GATEWAY, "gate", "Proxy")
        self.beat(GATEWAY, "gate", "proxy")
        self.refuses(HostDuplicate, self.request(GATEWAY, "gate"), "10.0.0.66")
        self.refuses(HostDuplicate, self.request(GATEWAY, "other"))

    def test_two_at_once(self) -> None:
        """Of two hosts that ask for one name in the same moment, one is refused."""
        waiting: Deferred[None] = Deferred()
        put = self.backend.put

        async def slow(*args: object) -> object:
            await waiting
            return await put(*args)  # type: ignore[arg-type]

        requests = [self.request(), self.request(WEB2, "web1")]
        self.patch(self.cluster.hosts, "_backend", Storage(self.backend, slow))
        first = Deferred.fromCoroutine(self.cluster.joining.register(requests[0], ADDRESS))
        self.refused(self.cluster.joining.register(requests[1], ADDRESS), PrincipalTaken)
        waiting.callback(None)
        self.successResultOf(first)

    def test_failed_write(self) -> None:
        """A registration that could not be written holds nothing."""

        async def full(*args: object) -> None:
            raise BadParameter("The disk is full.")

        request = self.request()
        self.patch(self.cluster.hosts, "_backend", Storage(self.backend, full))
        self.refused(self.cluster.joining.register(request, ADDRESS), BadParameter)
        self.assertEqual((list(self.cluster.hosts), self.cluster.hosts.holders("web1")), ([], frozenset()))

    def test_loopback_of_a_demo(self) -> None:
        """On loopback all hosts are one machine, and may all be called localhost."""
        self.allow_loopback = True
        self.open()
        for uuid, name in ((WEB1, "web1"), (WEB2, "web2")):
            self.register(self.request(uuid, name, principals=("localhost", "127.0.0.1")), "127.0.0.1")
