"""What a lock shuts out."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from teleport_conch.access.builtin import resolve
from teleport_conch.access.decision import Action, AgentForward, Caller, Denial, Facts, Login, PortForward, Target
from teleport_conch.access.locks import Locks
from teleport_conch.resources.lock import Lock
from tests.access.asking import NO_ROOT, NOW, UUID, WEB1, Decisions, asked, host, person

NODE = Target({"env": "prod"}, "web1", owner=UUID)
_TARGETS = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["alice", "bob"]),
        "login": st.sampled_from(["root", "alice"]),
        "node": st.sampled_from(["web1", UUID, "db1"]),
        "role": st.sampled_from(["access", "admin", "no-root"]),
    },
).filter(bool)


def named(name: str, user: str = "", login: str = "", node: str = "", role: str = "") -> Lock:
    return Lock(name, user, login, node, role)


_LOCKS = st.lists(_TARGETS, max_size=4).map(
    lambda every: [named(f"l{at}", **targets) for at, targets in enumerate(every)]
)


def locked(*locks: Lock) -> Facts:
    return Facts(locks=Locks(locks))


def alice() -> Caller:
    return person(*resolve(["access"]), NO_ROOT, name="alice")


class LockTests(Decisions):
    def test_what_matches(self) -> None:
        """All that is set has to match; a node by its name or its UUID, a role as one of the person's."""
        for lock, shut in (
            (Lock("l", user="alice"), True),
            (Lock("l", user="bob"), False),
            (Lock("l", login="alice"), True),
            (Lock("l", login="root"), False),
            (Lock("l", node="web1"), True),
            (Lock("l", node=UUID), True),
            (Lock("l", node="web2"), False),
            (Lock("l", role="access"), True),
            (Lock("l", role="no-root"), True),
            (Lock("l", role="admin"), False),
            (Lock("l", user="alice", login="alice", node="web1", role="access"), True),
            (Lock("l", user="alice", login="root"), False),
            (Lock("l", user="alice", node="web2"), False),
            (Lock("l", login="alice", role="admin"), False),
        ):
            answer = asked(alice(), Login("alice"), NODE, locked(lock))
            self.assertEqual(isinstance(answer, Denial), shut, lock)

    def test_expired(self) -> None:
        """A lock that has expired says nothing."""
        self.assertNotIsInstance(
            asked(alice(), Login("alice"), NODE, locked(Lock("l", "alice", expires_at=NOW))), Denial
        )

    def test_sentence(self) -> None:
        """The person hears that it is a lock, and its message, inert; of several the first message by name."""
        for locks, sentence in (
            ([Lock("l", "alice")], "locked by an administrator"),
            ([Lock("l", "alice", message="ask \x1b[2J Bob")], "locked by an administrator (ask \\x1b[2J Bob)"),
            ([Lock("b", "alice", message="b"), Lock("a", "alice")], "locked by an administrator (b)"),
        ):
            denial = self.assert_denied(alice(), Login("alice"), NODE, locked(*locks))
            self.assertEqual(denial.sentence, f"user alice is not authorized to login as alice@web1: {sentence}")

    def test_everything_on_the_node(self) -> None:
        """Forwarding stops with logins."""
        for action in (PortForward("alice", "db", 5432), AgentForward("alice")):
            self.assert_allowed(alice(), action, NODE)
            self.assert_denied(alice(), action, NODE, locked(Lock("l", "alice")))

    def test_calls(self) -> None:
        """Locks on a user or a role refuse calls of the API; those with a login or a node speak of nodes only."""
        call = Action("list", "node")
        for lock, shut in (
            (Lock("l", user="alice"), True),
            (Lock("l", role="access"), True),
            (Lock("l", user="alice", login="alice"), False),
            (Lock("l", node=UUID), False),
            (Lock("l", login="alice"), False),
        ):
            answer = asked(alice(), call, NODE, locked(lock))
            self.assertEqual(isinstance(answer, Denial), shut, lock)
        denial = self.assert_denied(alice(), call, Target(), locked(Lock("l", "alice")))
        self.assertEqual(denial.sentence, "user alice is not authorized to list node: locked by an administrator")

    def test_hosts(self) -> None:
        """No lock shuts a host out, and so nobody locks the door to the locks."""
        for lock in (Lock("l", user="web1"), Lock("l", role="Admin"), Lock("l", node=UUID)):
            self.assertNotIsInstance(asked(host("Admin"), Action("delete", "lock"), WEB1, locked(lock)), Denial)

    def test_trace(self) -> None:
        """Every lock that shuts out is in the trace, with what it is on; the smallest change removes them all."""
        locks = locked(
            Lock("b", role="access"), Lock("a", user="alice", node="web1", message="drill"), Lock("c", "bob")
        )
        trace = self.assert_denied(alice(), Login("alice"), NODE, locks).trace
        self.assertEqual(
            [(failure.part, failure.reason) for failure in trace.outside],
            [
                ("lock", "the lock a is in force on user alice and node web1: drill"),
                ("lock", "the lock b is in force on role access"),
            ],
        )
        self.assertEqual(trace.smallest_change, ("remove the lock a", "remove the lock b"))
        trace = self.assert_denied(alice(), Action("list", "node"), Target(), locked(Lock("a", "alice"))).trace
        self.assertEqual(trace.smallest_change, ("remove the lock a",))

    @given(_LOCKS, st.sampled_from(["alice", "root"]), st.randoms(use_true_random=False))
    def test_a_lock_never_grants(self, locks: list[Lock], login: str, random: Random) -> None:
        """More locks take away at most, in any order; and the index forgets none."""
        shuffled = list(locks)
        random.shuffle(shuffled)
        with_locks = asked(alice(), Login(login), NODE, locked(*shuffled))
        self.assertEqual(str(with_locks), str(asked(alice(), Login(login), NODE, locked(*locks))))
        if isinstance(asked(alice(), Login(login), NODE), Denial):
            self.assertIsInstance(with_locks, Denial)
        speak = [
            lock
            for lock in locks
            if lock.user in ("", "alice")
            and lock.login in ("", login)
            and lock.node in ("", "web1", UUID)
            and lock.role in ("", "access", "no-root")
        ]
        self.assertEqual(locked(*locks).shut_out(alice(), Login(login), NODE, NOW), tuple(speak))
