"""Locks as values and as JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import BadParameter
from teleport_conch.resources.lock import Lock

_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=32)
_TARGETS = st.dictionaries(st.sampled_from(["user", "login", "node", "role"]), _NAMES, min_size=1)


def lock_json(**spec: object) -> dict[str, object]:
    return {"kind": "lock", "version": "v2", "metadata": {"name": "l1"}, "spec": spec}


class LockTests(SynchronousTestCase):
    @given(_NAMES, _TARGETS, st.text(max_size=32), st.none() | st.floats(0, 4e9), st.floats(0, 4e9))
    def test_round_trip(
        self, name: str, targets: dict[str, str], message: str, expires_at: float | None, created_at: float
    ) -> None:
        """What is written can be read, through JSON text, and the revision with it."""
        lock = Lock(
            name,
            message=message,
            expires_at=expires_at,
            created_at=created_at,
            created_by="alice",
            revision="7",
            **targets,
        )
        again = Lock.from_json(json.loads(json.dumps(lock.to_json())))
        self.assertEqual((again, again.revision), (lock, "7"))

    def test_revision(self) -> None:
        """It is where the lock was read from, and no part of what the lock says."""
        self.assertEqual(Lock("l1", user="alice", revision="1"), Lock("l1", user="alice", revision="2"))

    def test_force(self) -> None:
        """A lock holds up to its expiry, and without one for ever."""
        lock = Lock("l1", user="alice", expires_at=100.0)
        self.assertEqual((lock.in_force_at(99.9), lock.in_force_at(100.0)), (True, False))
        self.assertTrue(Lock("l1", user="alice").in_force_at(1e12))

    def test_refusals(self) -> None:
        """A lock on nothing, unknown keys, and texts without a bound, each with its sentence."""
        for value, sentence in (
            (lock_json(), "a lock names one of user, login, node, role, or several of them that all have to match."),
            (lock_json(target={"usr": "alice"}), "lock.spec.target.'usr' is not known."),
            (lock_json(target={"user": "alice"}, until=7), "lock.spec.'until' is not known."),
            (lock_json(target={"user": "a" * 256}), "lock.spec.target.user is longer than 255 characters."),
            (lock_json(target={"user": "a"}, message="x" * 513), "lock.spec.message is longer than 512 characters."),
            ({**lock_json(target={"user": "a"}), "version": "v9"}, "lock.version has to be v2."),
        ):
            error = self.assertRaises(BadParameter, Lock.from_json, value)
            self.assertEqual(error.sentence, sentence)
        for arguments, sentence in (
            ({"user": "a" * 256}, "a name in a lock is longer than 255 characters."),
            ({"user": "a", "message": "x" * 513}, "the message of a lock is longer than 512 characters."),
        ):
            error = self.assertRaises(BadParameter, lambda given=arguments: Lock("l1", **given))
            self.assertEqual(error.sentence, sentence)
