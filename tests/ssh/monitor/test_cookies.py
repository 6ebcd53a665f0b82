"""Cookies of key exchanges: which ones a monitor knows, and how often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.monitor.cookies import MAX_OVERTAKEN, Cookies, UsedCookies


class CookieTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.used = UsedCookies()
        self.cookie = Cookies(self.used.key)

    def made(self, count: int) -> list[bytes]:
        return [self.cookie() for _ in range(count)]

    def refused(self, cookie: bytes) -> str:
        refusal: AccessDenied = self.assertRaises(AccessDenied, self.used.use, cookie)
        return refusal.sentence

    def test_alike_to_nobody(self) -> None:
        """To who does not have the key, there is nothing in a cookie: neither a beginning nor a count."""
        made = self.made(1000)
        self.assertEqual({len(each) for each in made}, {16})
        for place in range(16):
            self.assertGreater(len({each[place] for each in made}), 100)

    @given(st.permutations(range(20)))
    def test_once_in_any_order(self, order: list[int]) -> None:
        """Exchanges end in another order than they begin, and some never do."""
        used = UsedCookies()
        cookie = Cookies(used.key)
        made = [cookie() for _ in range(20)]
        for index in order:
            used.use(made[index])
        for each in made:
            self.assertRaises(AccessDenied, used.use, each)

    def test_of_another(self) -> None:
        """Of another server, or of the same before it was started anew."""
        self.assertEqual(
            self.refused(Cookies(UsedCookies().key)()), "The exchange has a cookie that the monitor did not give out."
        )

    def test_twice(self) -> None:
        first, second = self.made(2)
        self.used.use(second)
        self.used.use(first)
        for each in (first, second):
            self.assertEqual(self.refused(each), "The exchange has a cookie that was used before.")

    def test_overtaken(self) -> None:
        """What is remembered has an end, and what is beyond it is refused; it does not become new again."""
        first, *later, last = self.made(MAX_OVERTAKEN + 1)
        self.used.use(last)
        self.assertEqual(self.refused(first), "The exchange was overtaken by 10000 others.")
        self.used.use(later[0])
        self.assertEqual(self.refused(later[0]), "The exchange has a cookie that was used before.")

    def test_clients_that_went_away(self) -> None:
        """Any number of offers may come to nothing in between."""
        for behind in (MAX_OVERTAKEN - 1, MAX_OVERTAKEN, 3 * MAX_OVERTAKEN):
            *_, last = self.made(behind)
            self.used.use(last)
            self.assertEqual(self.refused(last), "The exchange has a cookie that was used before.")
