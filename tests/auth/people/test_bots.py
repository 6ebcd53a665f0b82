"""Robots: let in once, renewing for ever, and locked when an identity of theirs is used in two places."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from teleport_conch.auth.people.bots import Keys
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.certs import keys
from teleport_conch.errors import AccessDenied, TokenUsed
from teleport_conch.resources.bot import Bot
from teleport_conch.resources.user import User
from tests.auth.fixture import NOW, SSH_KEY, TLS_KEY, Answered
from tests.auth.people.case import PeopleTestCase

DEPLOY = Role("deploy", allow=Conditions(logins=("{{internal.logins}}", "root"), node_labels=EVERY_NODE))


def another_key() -> str:
    return keys.public_line(keys.public_blob(keys.generate_ssh_key().public_key()))


def another_tls_key() -> str:
    return keys.public_pem(keys.generate_tls_key().public_key())


class BotTestCase(PeopleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now(self.cluster.roles.shelf.create(DEPLOY))

    def make(self, name: str = "ci", **more: object) -> str:
        """The token of a new robot."""
        body = {"name": name, "roles": ["deploy"], "logins": ["deploy"], **more}
        answer = self.call(self.admin(), "POST", "/v1/bots", body)
        self.assertEqual(answer.status, 200, answer.body)
        return str(answer.body["token"])

    def join_bot(self, token: str, ssh_key: str = SSH_KEY, tls_key: str = TLS_KEY) -> Answered:
        body = {"token": token, "public_ssh_key": ssh_key, "public_tls_key": tls_key}
        return self.call(None, "POST", "/v1/bots/join", body)

    def caller(self, answer: Answered) -> Peer:
        return self.peer_of(self.identity(answer))

    def renew(self, answer: Answered, ssh_key: str = "", tls_key: str = TLS_KEY) -> Answered:
        """Renew with the certificates of an answer, for another key each time."""
        body = {"public_ssh_key": ssh_key or another_key(), "public_tls_key": tls_key}
        return self.call(self.caller(answer), "POST", "/v1/bots/renew", body)

    def bot(self, name: str = "ci") -> Bot:
        return self.cluster.bots.shelf.get(name).value.bot


class MakingTests(BotTestCase):
    def test_make(self) -> None:
        """128 bits that are kept nowhere, and a user that logs in to nothing yet."""
        answer = self.call(self.admin(), "POST", "/v1/bots", {"name": "ci", "roles": ["deploy"], "logins": ["deploy"]})
        token, bot = str(answer.body["token"]), Bot.from_json(answer.body["resource"])
        self.assertRegex(token, "^[0-9a-f]{32}$")
        self.assertEqual(answer.body["expires"], NOW + 3600)
        self.assertEqual(bot, Bot("ci", ("deploy",), ("deploy",), NOW, "tctl on the auth host"))
        for item in self.now(self.backend.range("")):
            self.assertNotIn(token.encode(), item.value + item.key.encode())
        user = self.cluster.users.get("bot-ci")
        self.assertEqual((user.roles, user.logins), (("deploy", "robot"), ("deploy",)))
        [event] = self.emitted.named("bot.create")
        self.assertEqual((event.fields["name"], event.fields["user"]), ("ci", "tctl on the auth host"))
        self.assertEqual([Bot.from_json(item) for item in self.call(self.admin(), "GET", "/v1/bots").items], [bot])

    def test_refused(self) -> None:
        self.make()
        for body, status, sentence in (
            ({"name": "ci", "roles": ["deploy"]}, 409, "The robot 'ci' exists already."),
            (
                {"name": "x", "roles": ["dba"]},
                400,
                "There is no role 'dba'; 'tctl get roles' lists those that there are.",
            ),
            ({"name": "x", "roles": []}, 400, "missing parameter roles: a robot without any can do nothing"),
            (
                {"name": "x", "roles": ["deploy"], "ttl": 59},
                400,
                "The token of a robot lives for 1m to 48h, and not for 59s.",
            ),
        ):
            answer = self.call(self.admin(), "POST", "/v1/bots", body)
            self.assertEqual((answer.status, answer.sentence), (status, sentence))
        for name in ("a b", "../x", "-x\0", "a/b"):
            answer = self.call(self.admin(), "POST", "/v1/bots", {"name": name, "roles": ["deploy"]})
            self.assertEqual((answer.status, answer.code), (403, "PRINCIPAL_FORBIDDEN"))

    def test_more_than_one_has(self) -> None:
        """Nobody gets by a robot what they do not have."""
        maker = Role("maker", allow=Conditions(rules=(Rule(("bot",), ("create",)),)))
        self.now(self.cluster.roles.shelf.create(maker))
        answer = self.call(self.user("maker"), "POST", "/v1/bots", {"name": "x", "roles": ["deploy"]})
        self.assertEqual((answer.status, answer.code), (403, "NOT_HELD"))
        self.assertIn("the login root", answer.sentence)
        self.assertEqual(self.cluster.bots.shelf.all(), [])

    def test_users_of_robots(self) -> None:
        """They are not changed, reset or removed as if they were people."""
        self.make()
        user = self.cluster.users.get("bot-ci")
        sentence = "This is the user of a robot; 'tctl bots' makes and removes those."
        self.assertEqual(self.call(self.admin(), "DELETE", "/v1/users/bot-ci").sentence, sentence)
        link = self.call(self.admin(), "POST", "/v1/users/bot-ci/invites", {"kind": "invite"})
        self.assertEqual(link.sentence, sentence)
        changed = self.call(self.admin(), "PUT", "/v1/users/bot-ci", user.to_json())
        self.assertEqual(changed.sentence, "The names of robots begin with 'bot-'; choose another for a person.")


class JoiningTests(BotTestCase):
    def test_join(self) -> None:
        """An hour, as the user bot-ci, with the roles and logins that it was given."""
        answer = self.join_bot(self.make())
        identity = self.identity(answer)
        self.assertEqual((identity.name, identity.roles), ("bot-ci", ("deploy", "robot")))
        self.assertEqual((identity.principals, identity.generation), (("deploy", "root"), 1))
        self.assertEqual(answer.body["generation"], 1)
        self.assertEqual(identity.not_after, NOW + 3600)
        self.assertEqual((self.bot().generation, self.bot().renewed_at), (1, NOW))
        [event] = self.emitted.named("bot.join")
        self.assertEqual((event.success, event.fields["name"], event.fields["user"]), (True, "ci", "bot-ci"))

    def test_90_used(self) -> None:
        """The token is good once; who comes second is told so, and gets nothing."""
        token = self.make()
        self.join_bot(token)
        again = self.join_bot(token, another_key())
        self.assertEqual((again.status, again.code), (403, "TOKEN_USED"))
        self.assertIn("This token was used already, and is good once.", again.sentence)
        self.assertFalse(self.emitted.named("bot.join")[-1].success)

    def test_90_twice_at_once(self) -> None:
        """Of two who show a token at the same moment, one gets in."""
        token, bots = self.make(), self.cluster.bots
        two = [Deferred.fromCoroutine(bots.join(token, Keys(another_key(), TLS_KEY), "192.0.2.7")) for _ in range(2)]
        self.assertEqual(self.successResultOf(two[0])[1].generation, 1)
        self.failureResultOf(two[1], TokenUsed)

    def test_answer_lost(self) -> None:
        """A robot that did not hear the answer asks again with the same keys."""
        token = self.make()
        self.join_bot(token)
        again = self.join_bot(token)
        self.assertEqual((again.status, again.body["generation"]), (200, 1))

    def test_90_expired(self) -> None:
        token = self.make()
        self.clock.advance(3600)
        answer = self.join_bot(token)
        self.assertEqual((answer.status, answer.code), (403, "TOKEN_EXPIRED"))
        self.assertEqual(
            answer.sentence, "The token of this robot expired 0 seconds ago; remove the robot, and make it again."
        )

    def test_90_91_unknown(self) -> None:
        """Forged, cut short, of a removed robot, or of another kind."""
        token, invite = self.make(), ""
        self.add()
        invite = self.invite()
        for wrong in ("0" * 32, token[:-1], self.token(), invite):
            answer = self.join_bot(wrong)
            self.assertEqual((answer.status, answer.code), (403, "TOKEN_UNKNOWN"))
        self.assertEqual(self.open_link(token).code, "INVITE_UNKNOWN")
        as_host = self.call(None, "POST", "/v1/tokens/register", self.request(token=token).to_json())
        self.assertEqual(as_host.code, "TOKEN_UNKNOWN")
        self.call(self.admin(), "DELETE", "/v1/bots/ci")
        self.assertEqual(self.join_bot(token).code, "TOKEN_UNKNOWN")

    def test_bad_keys(self) -> None:
        """They do not use the token up."""
        token = self.make()
        self.assertEqual(self.join_bot(token, "ssh-rsa AAAA").status, 400)
        self.assertEqual(self.join_bot(token).status, 200)

    def test_too_often(self) -> None:
        for _ in range(20):
            self.join_bot("0" * 32)
        self.assertEqual(self.join_bot(self.make()).code, "LIMIT_EXCEEDED")

    def test_pinned(self) -> None:
        """Bound to its address where a role says so, also in what it renews."""
        self.now(self.cluster.roles.shelf.create(Role("pinned", Options(pin_source_ip=True))))
        token = self.make(roles=["deploy", "pinned"])
        first = self.join_bot(token)
        address = self.bot().address
        self.assertEqual(self.identity(first).source_address, address)
        self.assertEqual(self.identity(self.renew(first)).source_address, address)


class RenewalTests(BotTestCase):
    def test_renew(self) -> None:
        """Again and again, an hour each; generations are counted."""
        answer = self.join_bot(self.make())
        for generation in (2, 3, 4):
            self.clock.advance(1800)
            answer = self.renew(answer)
            identity = self.identity(answer)
            self.assertEqual((answer.body["generation"], identity.generation), (generation, generation))
            self.assertEqual(identity.not_after, self.clock.seconds() + 3600)
        self.assertEqual((self.bot().generation, self.bot().renewed_at), (4, self.clock.seconds()))
        self.assertEqual({event.fields["method"] for event in self.emitted.named("cert.create")}, {"robot"})

    def test_answer_lost(self) -> None:
        """The same certificates and the same keys again are the same robot."""
        first, key = self.join_bot(self.make()), another_key()
        self.renew(first, key)
        again = self.renew(first, key)
        self.assertEqual((again.status, again.body["generation"]), (200, 2))
        self.assertEqual(self.renew(again).body["generation"], 3)
        self.assertEqual(self.cluster.locks.shelf.all(), [])

    def test_copied(self) -> None:
        """Whoever comes second with an identity, thief or robot, locks both out; an event says so."""
        first = self.join_bot(self.make())
        thief = self.renew(first)
        robots = self.renew(first)
        self.assertEqual((robots.status, robots.code), (403, "IDENTITY_COPIED"))
        self.assertIn("These certificates of the robot 'ci' were renewed before", robots.sentence)
        [lock] = self.cluster.locks.shelf.all()
        self.assertEqual((lock.value.name, lock.value.user), ("copied-robot-ci", "bot-ci"))
        self.assertEqual(lock.value.expires_at, None)
        [event] = self.emitted.named("bot.copied")
        self.assertEqual((event.fields["name"], event.fields["count"], event.fields["max"]), ("ci", 1, 2))
        self.assertEqual(self.renew(thief).status, 403)
        self.assertEqual(self.renew(first).status, 403)
        self.assertEqual(self.bot().generation, 2)

    def test_copied_long_ago(self) -> None:
        """A copy of an identity of some time ago, with the keys of then."""
        first, key = self.join_bot(self.make()), another_key()
        second = self.renew(first, key)
        self.renew(second)
        self.assertEqual(self.renew(first, key).code, "IDENTITY_COPIED")

    def test_backup_put_back(self) -> None:
        """Auth that was put back from a backup goes on with what robots have by now; the next copy is noticed again."""
        answer = self.join_bot(self.make())
        saved = self.cluster.bots.shelf.get("ci").value
        third = self.renew(self.renew(answer))
        self.now(self.cluster.bots.shelf.replace(saved))
        fourth = self.renew(third)
        self.assertEqual((fourth.status, fourth.body["generation"], self.bot().generation), (200, 4, 4))
        self.assertEqual(self.renew(third).code, "IDENTITY_COPIED")

    def test_key_of_another(self) -> None:
        """A thief who knows the robot's SSH key, which is no secret, is no robot that did not hear the answer."""
        token = self.make()
        first = self.join_bot(token)
        stolen = self.join_bot(token, tls_key=another_tls_key())
        self.assertEqual((stolen.status, stolen.code), (403, "TOKEN_USED"))
        key = another_key()
        self.assertEqual(self.renew(first, key).status, 200)
        copied = self.renew(first, key, another_tls_key())
        self.assertEqual((copied.status, copied.code), (403, "IDENTITY_COPIED"))

    def test_copied_and_made_again(self) -> None:
        """A robot of the name that is made anew is not locked; what was stolen stays worthless."""
        first = self.join_bot(self.make())
        thief = self.renew(first)
        self.renew(first)
        self.call(self.admin(), "DELETE", "/v1/bots/ci")
        self.clock.advance(5)
        fresh = self.join_bot(self.make())
        self.assertEqual(self.cluster.locks.shelf.all(), [])
        self.assertEqual(self.renew(fresh).status, 200)
        stolen = self.identity(thief)
        self.assertRaises(AccessDenied, self.peer_of, stolen)

    def test_removed(self) -> None:
        first = self.join_bot(self.make())
        peer = self.caller(first)
        self.call(self.admin(), "DELETE", "/v1/bots/ci")
        answer = self.call(peer, "POST", "/v1/bots/renew", {"public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY})
        self.assertEqual(answer.status, 403)
        [lock] = self.cluster.locks.shelf.all()
        self.assertEqual((lock.value.user, lock.value.expires_at), ("bot-ci", NOW + 3600))
        self.assertEqual(self.call(self.admin(), "DELETE", "/v1/bots/ci").status, 404)

    def test_people(self) -> None:
        """A person renews in another way, and a robot not in that of people."""
        self.settle(User("bob", ("access", "robot")))
        person = self.log_in("bob")
        self.assertEqual(self.renew(person).status, 403)
        robot = self.join_bot(self.make(roles=["deploy", "access"]))
        keys_of = {"public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY}
        self.assertEqual(self.call(self.caller(robot), "POST", "/v1/ca/user/renew", keys_of).status, 400)

    def test_restart(self) -> None:
        """Generations are counted on after a restart of auth."""
        first = self.join_bot(self.make())
        second = self.renew(first)
        self.open()
        self.assertEqual(self.renew(second).body["generation"], 3)
        self.assertEqual(self.renew(first).code, "IDENTITY_COPIED")
