"""Twenty people who log in at once: nothing of it is hashed where everything else happens."""

from __future__ import annotations

import os
import threading

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from teleport_conch.auth.people import passwords
from teleport_conch.auth.people.hashing_threads import NICENESS, HashingThreads, threads_for
from teleport_conch.auth.people.passwords import Hashing
from tests.client.servers import the_reactor


class HashingThreadsTests(TestCase):
    def setUp(self) -> None:
        self.patch(passwords, "SCRYPT_LOG2_N", 8)
        self.threads = HashingThreads(the_reactor())  # type: ignore[arg-type]  # it is all that a reactor can be
        self.threads.start()
        self.addCleanup(self.threads.stop)
        self.where: list[tuple[int, int]] = []
        self.at_once = self.most = 0
        self.count = threading.Lock()

    async def recorded(self, call: object) -> bytes:
        """Hash in the threads, and remember in which."""

        def hashed() -> bytes:
            with self.count:
                self.at_once += 1
                self.most = max(self.most, self.at_once)
            thread = threading.get_native_id()
            self.where.append((thread, os.getpriority(os.PRIO_PROCESS, thread)))
            try:
                return call()  # type: ignore[operator,no-any-return]  # what is to be hashed
            finally:
                with self.count:
                    self.at_once -= 1

        return await self.threads(hashed)

    async def test_twenty_at_once(self) -> None:
        """Twenty hashes, none in the reactor's thread, two at a time, and all else goes before them."""
        hashing = Hashing(self.recorded, os.urandom)
        turns: list[None] = []
        logins = [Deferred.fromCoroutine(hashing.verify("a password", None)) for _ in range(20)]
        the_reactor().callLater(0, turns.append, None)
        self.assertEqual(await gatherResults(logins), [False] * 20)
        self.assertEqual(len(self.where), 20)
        self.assertNotIn(threading.get_native_id(), [thread for thread, _ in self.where])
        self.assertLessEqual(self.most, 2)
        self.assertTrue(all(priority >= NICENESS for _, priority in self.where))
        self.assertEqual(turns, [None])

    def test_processors(self) -> None:
        """One processor is left for all else, where there are several, and two of them are enough."""
        self.assertEqual([threads_for(count) for count in (1, 2, 3, 4, 64)], [1, 1, 2, 2, 2])

    async def test_failure(self) -> None:
        """What goes wrong in a thread goes wrong for who asked."""

        def broken() -> bytes:
            raise MemoryError

        with self.assertRaises(MemoryError):
            await self.threads(broken)
