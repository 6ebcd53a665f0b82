"""Join tokens: what they allow, and what is said to who shows one that is no good."""

from __future__ import annotations

import hashlib

from teleport_conch.auth import limits
from teleport_conch.auth.hosts.tokens import static_token
from teleport_conch.auth.state import storing
from teleport_conch.errors import (
    AlreadyExists,
    BadParameter,
    NotFound,
    PrincipalForbidden,
    TokenExpired,
    TokenRole,
    TokenType,
    TokenUnknown,
)
from teleport_conch.resources.token import JoinToken, token_digest
from teleport_conch.storage.memory import MemoryBackend
from tests.auth.fixture import NOW, ClusterTestCase

HOST = '"web1" [1111]'
STATIC = "a-static-token-of-the-file"


class TokenTests(ClusterTestCase):
    static_tokens = (static_token(("node", "proxy"), STATIC, "configuration", NOW),)

    def test_create(self) -> None:
        """The secret is 32 hexadecimal digits, and is not in what is kept."""
        secret, token = self.now(self.cluster.tokens.create(roles=("Node",), ttl_s=1800, created_by="alice"))
        self.assertRegex(secret, "^[0-9a-f]{32}$")
        self.assertEqual((token.roles, token.created_by, token.expires_at), (("Node",), "alice", NOW + 1800))
        for item in self.now(self.backend.range("")):
            self.assertNotIn(secret.encode(), item.value + item.key.encode())

    def test_many_hosts_one_token(self) -> None:
        """A token can be used until it expires, by any number of hosts, for each of its roles."""
        secret = self.token()
        for role in ("Node", "Node", "Proxy"):
            self.assertEqual(self.now(self.cluster.tokens.redeem(secret, role, HOST)).created_by, "alice")

    def test_90_expired(self) -> None:
        """An expired token is told from an unknown one for a week."""
        secret = self.token(ttl_s=1800.0)
        self.clock.advance(1800)
        reason = self.refused(self.cluster.tokens.redeem(secret, "Node", HOST), TokenExpired)
        self.assertEqual(reason.code, "TOKEN_EXPIRED")
        self.assertEqual(
            reason.sentence,
            '"web1" [1111] can not join the cluster with role Node: the token expired 0 seconds ago.'
            " Make a new one with 'tctl nodes add'.",
        )
        self.clock.advance(limits.EXPIRED_TOKENS_KEPT_S - 1)
        self.refused(self.cluster.tokens.redeem(secret, "Node", HOST), TokenExpired)
        self.clock.advance(1)
        self.refused(self.cluster.tokens.redeem(secret, "Node", HOST), TokenUnknown)

    def test_90_unknown(self) -> None:
        """A token that never was."""
        reason = self.refused(self.cluster.tokens.redeem("0123456789abcdef", "Node", HOST), TokenUnknown)
        self.assertEqual(reason.code, "TOKEN_UNKNOWN")
        self.assertEqual(
            reason.sentence,
            '"web1" [1111] can not join the cluster with role Node, the token is not valid: there is none like it,'
            " or it was removed. Make one with 'tctl nodes add'.",
        )
        self.assertEqual(reason.http_status, 403)

    def test_90_revoked(self) -> None:
        """A token that was removed is unknown at once, by its id or its secret."""
        for by_id in (True, False):
            secret = self.token()
            name = self.token_id(secret) if by_id else secret
            self.assertEqual(self.now(self.cluster.tokens.remove(name)).digest, self.digest(secret))
            self.refused(self.cluster.tokens.redeem(secret, "Node", HOST), TokenUnknown)

    def test_90_wrong_role(self) -> None:
        """A token for proxies lets in no node; the answer says which roles it is good for."""
        secret = self.token(roles=("proxy",))
        reason = self.refused(self.cluster.tokens.redeem(secret, "Node", HOST), TokenRole)
        self.assertEqual((reason.code, reason.http_status), ("TOKEN_ROLE", 400))
        self.assertIn('the token does not allow "Node" role. It is good for Proxy.', reason.sentence)
        self.assertEqual(reason.facts["allowed"], ["Proxy"])

    def test_91_another_secret(self) -> None:
        """A secret of another kind is no join token, even where both lie in one place under their digests."""
        secret = "an-invitation-for-bob"
        value = storing.encode({"kind": "reset_password_token", "metadata": {"name": "bob"}})
        self.now(self.backend.put(f"join_tokens/{self.digest(secret)}", value))
        reason = self.refused(self.cluster.tokens.redeem(secret, "Node", HOST), TokenType)
        self.assertIn("this is a secret for something else, not a join token", reason.sentence)
        self.assertNotIn(self.token_id(secret), [token.id for token in self.now(self.cluster.tokens.all())])

    def test_91_what_people_mistake(self) -> None:
        """The CA pin, and the id of a token, are recognised and named."""
        pin = self.refused(self.cluster.tokens.redeem("sha256:" + "0" * 64, "Node", HOST), TokenType)
        self.assertIn("this is a CA pin, not a join token", pin.sentence)
        identity = self.token_id(self.token())
        reason = self.refused(self.cluster.tokens.redeem(identity, "Node", HOST), TokenType)
        self.assertIn("this is the id of a token, not the token", reason.sentence)

    def test_static(self) -> None:
        """A static token never expires, is listed first, and cannot be removed."""
        self.clock.advance(1e9)
        self.assertEqual(self.now(self.cluster.tokens.redeem(STATIC, "Proxy", HOST)).created_by, "configuration")
        first = self.now(self.cluster.tokens.all())[0]
        self.assertTrue(first.static)
        for name in (STATIC, first.id):
            reason = self.refused(self.cluster.tokens.remove(name), BadParameter)
            self.assertIn(f"token {first.id} is statically configured and cannot be removed", reason.sentence)
            self.assertNotIn(STATIC, reason.sentence)

    def test_static_and_short(self) -> None:
        """Nobody finds out a static token that can be guessed by removing what it might be, or by changing that."""
        plain = static_token(("Proxy",), "hunter22", "configuration", NOW)
        tokens = self.cluster.tokens
        tokens._static = (tokens._digests.token(plain),)
        for secret in ("hunter21", "hunter22"):
            for work in (tokens.remove(secret), tokens.replace(secret, plain, None)):
                self.assertIn("There is no such token", self.refused(work, NotFound).sentence)
        self.assertEqual(self.now(tokens.redeem("hunter22", "Proxy", HOST)).roles, ("Proxy",))

    def test_list(self) -> None:
        """Those that can be used, the first to expire first."""
        for ttl_s in (3600.0, 600.0, 60.0):
            self.token(ttl_s=ttl_s)
        self.clock.advance(61)
        expiries = [token.expires_at for token in self.now(self.cluster.tokens.all())]
        self.assertEqual(expiries, [None, NOW + 600, NOW + 3600])

    def test_chosen_value(self) -> None:
        """The administrator may choose the value, once; when the first has expired, again."""
        self.assertEqual(self.token(secret="correct-horse-battery"), "correct-horse-battery")
        reason = self.refused(
            self.cluster.tokens.create(roles=("node",), ttl_s=60, created_by="bob", secret="correct-horse-battery"),
            AlreadyExists,
        )
        self.assertEqual(reason.sentence, "A token with this value exists already; choose another one.")
        self.clock.advance(1800)
        self.token(secret="correct-horse-battery")
        self.refused(
            self.cluster.tokens.create(roles=("node",), ttl_s=60, created_by="bob", secret=STATIC), AlreadyExists
        )

    def test_guessed(self) -> None:
        """What lists, events and refusals show of a token says nothing of a guess, in whatever form it is tried."""
        chosen = "correct-horse-battery"
        self.token(secret=chosen)
        listed = self.call(self.admin(), "GET", "/v1/tokens")
        self.call(self.admin(), "DELETE", f"/v1/tokens/{chosen}")
        shown = str((listed.body, self.emitted.events))
        for guess in (chosen, STATIC):
            for digest in (token_digest(guess), hashlib.sha256(token_digest(guess).encode()).hexdigest()):
                self.assertNotIn(digest[:12], shown)

    def test_of_other_clusters(self) -> None:
        """The same token goes by another id in another cluster, and by the same one after a restart."""
        here = self.digest(STATIC)
        self.open()
        self.assertEqual(self.digest(STATIC), here)
        self.backend = MemoryBackend(self.clock)
        self.now(self.backend.create("cluster_configuration/tokens", b"another"))
        self.open()
        self.assertNotEqual(self.digest(STATIC), here)

    def test_plain_digests(self) -> None:
        """Tokens that an early version kept under plain digests are good as before, and lie there no more."""
        token = JoinToken(token_digest("of-an-early-version"), ("Node",), "alice", NOW, NOW + 600)
        self.now(self.backend.put(f"tokens/{token.digest}", storing.encode(token.to_json()), NOW + 700))
        self.open()
        self.assertEqual(
            self.now(self.cluster.tokens.redeem("of-an-early-version", "Node", HOST)).expires_at, NOW + 600
        )
        self.assertEqual(self.now(self.backend.range("tokens/")), ())
        [item] = self.now(self.backend.range("join_tokens/"))
        self.assertEqual(item.expires_at, NOW + 700)

    def test_refused_at_creation(self) -> None:
        """Values that can be guessed or not be typed, times out of bounds, roles and names that there are not."""
        for options, kind, sentence in (
            ({"secret": "fifteen-charact"}, BadParameter, "A token has 16 to 512 characters."),
            ({"secret": "a secret with spaces"}, BadParameter, "printable ASCII"),
            ({"secret": "/etc/a-token-file"}, BadParameter, "without spaces and slashes"),
            ({"ttl_s": 59.0}, BadParameter, "lives for 1m to 48h, and not for 59s"),
            ({"ttl_s": 172801.0}, BadParameter, "lives for 1m to 48h, and not for "),
            ({"ttl_s": -1.0}, BadParameter, "lives for 1m to 48h, and not for "),
            ({"ttl_s": float("nan")}, BadParameter, "lives for 1m to 48h, and not for "),
            ({"roles": ()}, BadParameter, "at least one role"),
            ({"roles": ("admin",)}, BadParameter, "the roles node, proxy, auth, and not 'admin'"),
            ({"principals": ("*.example.com",)}, PrincipalForbidden, "is not a host name"),
            ({"node_name": "web1,web2"}, PrincipalForbidden, "is not a host name"),
            ({"labels": {"en v": "prod"}}, BadParameter, "has other characters"),
        ):
            usual: dict[str, object] = {"roles": ("node",), "ttl_s": 60.0, "created_by": "alice"}
            creating = self.cluster.tokens.create(**{**usual, **options})  # type: ignore[arg-type]
            self.assertIn(sentence, self.refused(creating, kind).sentence)

    def test_remove_unknown(self) -> None:
        """The sentence does not repeat what may be somebody's secret."""
        reason = self.refused(self.cluster.tokens.remove("not-a-token-of-ours"), NotFound)
        self.assertEqual(reason.sentence, "There is no such token; 'tctl tokens ls' lists them by their ids.")
