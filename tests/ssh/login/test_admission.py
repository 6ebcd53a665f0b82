"""The limits on connections: what counts to which address, what is refused and in which words, and what is logged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.factory import ServerFactory, ServerLimits
from teleport_conch.ssh.login.admission import (
    MAX_GOODBYES,
    MAX_PROXIES,
    Admission,
    Bounds,
    Refusal,
    Startups,
    source_of,
)
from teleport_conch.ssh.login.penalties import FAILED_S, MAX_SOURCES, MOST_S, SHUT_OUT_FROM_S, TOO_SLOW_S, Penalties
from tests.ssh.in_memory import Pair, sample_host_keys
from tests.ssh.logins import SamplePolicy, ed25519_client

HERE, THERE = "192.0.2.7", "198.51.100.1"


class SourceTests(SynchronousTestCase):
    def test_table(self) -> None:
        """IPv4 counts alone, also where it is written as IPv6; IPv6 counts by networks of 64 bits."""
        for host, source in (
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("?", "?"),
        ):
            self.assertEqual(source_of(host), source)


class StartupsTests(SynchronousTestCase):
    def test_like_sshd(self) -> None:
        """Nothing below ``start``, ``rate`` percent at it, everything from ``full`` on, and a straight line between."""
        drop = Startups(10, 30, 100)
        found = [drop.chance(starting) for starting in (0, 9, 10, 55, 100, 1000)]
        self.assertEqual(found, [0.0, 0.0, 0.3, 0.65, 1.0, 1.0])

    def test_a_wall(self) -> None:
        """``start`` and ``full`` may be the same."""
        self.assertEqual([Startups(5, 100, 5).chance(starting) for starting in (4, 5)], [0.0, 1.0])


class AdmissionCase(SynchronousTestCase):
    def make(self, bounds: Bounds) -> Admission:
        self.clock, self.dice = Clock(), [0.0]
        self.admission = Admission(self.clock, lambda: self.dice[0], bounds)
        return self.admission

    def enter(self, host: str = HERE, times: int = 1) -> list[Refusal | None]:
        return [self.admission.visit(host).enter() for _ in range(times)]

    def assert_refused(self, refusals: list[Refusal | None], sentence: str) -> None:
        self.assertEqual([refusal and refusal.sentence for refusal in refusals], [sentence])


class BoundsTests(AdmissionCase):
    def test_from_one_address(self) -> None:
        """Those that are not logged in are bounded for each address; the setting is named, and others come in."""
        self.make(Bounds(per_source_max_startups=2, prefix="limits."))
        self.assertEqual(self.enter(times=2), [None, None])
        sentence = (
            "192.0.2.7 has 2 connections that are not logged in, which is the limit (limits.per_source_max_startups)."
        )
        self.assert_refused(self.enter(), sentence)
        self.assertEqual(self.enter(THERE), [None])

    def test_logged_in(self) -> None:
        """Two hundred people work behind one address: who is logged in makes room for the next."""
        self.make(Bounds(per_source_max_startups=1, max_startups=Startups(1, 100, 1)))
        for _ in range(200):
            visit = self.admission.visit(HERE)
            self.assertIs(visit.enter(), None)
            visit.log_in()
        self.assertEqual((self.admission.starting.total(), self.admission.logged_in[HERE]), (0, 200))

    def test_max_connections(self) -> None:
        """All connections of one address are bounded, logged in or not."""
        self.make(Bounds(max_connections=2))
        visit = self.admission.visit(HERE)
        visit.enter()
        visit.log_in()
        self.enter()
        self.assert_refused(self.enter(), "192.0.2.7 has 2 connections, which is the limit (max_connections).")
        visit.leave()
        self.assertEqual(self.enter(), [None])

    def test_early_drop(self) -> None:
        """Of all addresses together, a share is dropped at random."""
        self.make(Bounds(max_startups=Startups(2, 30, 4)))
        self.dice = [0.31]
        for number in range(3):
            self.assertEqual(self.enter(f"192.0.2.{number}"), [None])
        self.dice[0] = 0.64
        self.assert_refused(self.enter(), "Too many connections are about to log in; try again (max_startups).")
        self.dice[0] = 0.66
        self.assertEqual(self.enter(), [None])
        self.dice[0] = 0.999
        self.assert_refused(self.enter(), "Too many connections are about to log in; try again (max_startups).")

    @given(st.lists(st.tuples(st.sampled_from(("enter", "log in", "leave", "vouch", "direct")), st.integers(0, 5))))
    def test_nothing_is_lost(self, steps: list[tuple[str, int]]) -> None:
        """However connections come and go, what is counted is what is there, and in the end there is nothing."""
        self.make(Bounds(per_source_max_startups=2, per_source_penalties=False))
        visits = [self.admission.visit(f"192.0.2.{number % 2}") for number in range(6)]
        there = set[int]()
        for step, number in steps:
            if step == "enter" and number not in there and visits[number].enter() is None:
                there.add(number)
            elif number in there:
                if step == "log in":
                    visits[number].log_in()
                elif step == "vouch":
                    visits[number].vouched_for(THERE)
                elif step == "direct":
                    visits[number].direct()
                elif step == "leave":
                    visits[number].leave()
                    there.discard(number)
                    visits[number] = self.admission.visit(HERE)
        for visit in visits:
            visit.leave()
        self.assertEqual((self.admission.starting, self.admission.logged_in, self.admission.goodbyes), ({}, {}, 0))

    def test_one_goodbye(self) -> None:
        """A connection that is refused twice is one goodbye, and none when it is gone."""
        self.make(Bounds(per_source_max_startups=1))
        self.admission.visit(HERE).enter()
        visit = self.admission.visit(HERE)
        self.assertEqual([bool(visit.enter()), bool(visit.enter())], [True, True])
        self.assertEqual(self.admission.goodbyes, 1)
        visit.leave()
        self.assertEqual(self.admission.goodbyes, 0)

    def test_goodbyes(self) -> None:
        """Some of the refused are told why; a flood of them is cut off without a word."""
        self.make(Bounds(per_source_max_startups=1))
        first = self.admission.visit(HERE)
        first.enter()
        refused = [self.admission.visit(HERE) for _ in range(MAX_GOODBYES + 1)]
        silent = [refusal.silent for visit in refused if (refusal := visit.enter()) is not None]
        self.assertEqual(silent, [False] * MAX_GOODBYES + [True])
        for visit in refused:
            visit.leave()
        self.assertEqual(self.admission.goodbyes, 0)

    def test_log(self) -> None:
        """A limit that bites is logged once a minute, with the number of those that were refused meanwhile."""
        self.make(Bounds(per_source_max_startups=1))
        self.enter()
        with capturedLogs() as logged:
            self.enter(times=100)
            self.clock.advance(60)
            self.enter(times=2)
        sentence = "192.0.2.7 has 1 connections that are not logged in, which is the limit (per_source_max_startups)."
        self.assertEqual(
            list(map(formatEvent, logged)),
            [f"{sentence} 0 more were refused before.", f"{sentence} 99 more were refused before."],
        )


class ProxyTests(AdmissionCase):
    def test_moves(self) -> None:
        """What comes through a proxy counts to its client, and the proxy's address is free of limits from then on."""
        self.make(Bounds(per_source_max_startups=1, max_connections=1))
        for number in range(20):
            visit = self.admission.visit(THERE)
            self.assertIs(visit.enter(), None)
            self.assertIs(visit.vouched_for(f"192.0.2.{number}"), None)
        self.assertEqual(self.admission.starting[THERE], 0)
        visit = self.admission.visit(THERE)
        self.assertIs(visit.enter(), None)
        refusal = visit.vouched_for("192.0.2.3")
        assert refusal is not None
        self.assertEqual(refusal.sentence, "192.0.2.3 has 1 connections, which is the limit (max_connections).")

    def test_straight_from_there(self) -> None:
        """Somebody on the proxy's host who is no proxy is counted once that shows."""
        self.make(Bounds(per_source_max_startups=1))
        self.admission.remember_proxy(THERE)
        visits = [self.admission.visit(THERE) for _ in range(3)]
        self.assertEqual([visit.enter() for visit in visits], [None] * 3)
        self.assertEqual([visit.direct() is None for visit in visits], [True, False, False])

    def test_bounded(self) -> None:
        """The addresses of many proxies are remembered, not of any number."""
        self.make(Bounds())
        for number in range(MAX_PROXIES + 1):
            self.admission.remember_proxy(str(number))
        self.assertEqual([self.admission.is_proxy("0"), self.admission.is_proxy("1")], [False, True])


class PenaltyTests(AdmissionCase):
    def come_to_nothing(self, times: int, host: str = HERE, **conduct: bool) -> None:
        for _ in range(times):
            visit = self.admission.visit(host)
            visit.enter()
            for name in conduct:
                setattr(visit, name, True)
            visit.leave()

    def test_failing(self) -> None:
        """An address from which logins fail again and again is refused for a while, and others are not."""
        self.make(Bounds())
        self.come_to_nothing(14, failed=True, heard=True)
        self.assertEqual(self.enter(), [None])
        self.come_to_nothing(1, failed=True, heard=True)
        sentence = "Logins from 192.0.2.7 keep failing; try again in 30 s (per_source_penalties)."
        self.assert_refused(self.enter(), sentence)
        self.assertEqual(self.enter(THERE), [None])
        self.clock.advance(30)
        self.assertEqual(self.enter(), [None])

    def test_too_slow(self) -> None:
        """Letting the time to log in run out costs most, scanning least."""
        self.make(Bounds())
        self.come_to_nothing(3, too_slow=True)
        self.come_to_nothing(29, THERE, heard=True)
        self.assertIsNot(self.enter()[0], None)
        self.assertEqual(self.enter(THERE), [None])

    def test_silent_probes(self) -> None:
        """A load balancer that connects and closes without a byte does so for ever."""
        self.make(Bounds())
        with capturedLogs() as logged:
            self.come_to_nothing(10_000)
        self.assertEqual((self.enter(), logged), ([None], []))

    def test_off(self) -> None:
        self.make(Bounds(per_source_penalties=False))
        self.come_to_nothing(100, failed=True)
        self.assertEqual(self.enter(), [None])

    def test_somebody_is_logged_in(self) -> None:
        """One of two hundred behind an address who keeps failing does not shut out the others."""
        self.make(Bounds())
        visit = self.admission.visit(HERE)
        visit.enter()
        visit.log_in()
        self.come_to_nothing(100, failed=True)
        self.assertEqual(self.enter(), [None])
        visit.leave()
        self.assertIsNot(self.enter()[0], None)

    def test_forgiven(self) -> None:
        """A login settles what is owed."""
        self.make(Bounds())
        self.come_to_nothing(14, failed=True)
        visit = self.admission.visit(HERE)
        visit.enter()
        visit.log_in()
        visit.leave()
        self.come_to_nothing(14, failed=True)
        self.assertEqual(self.enter(), [None])

    def test_this_host(self) -> None:
        """What runs on this host is never shut out."""
        self.make(Bounds())
        for host in ("127.0.0.1", "::1", "127.8.8.8"):
            self.come_to_nothing(100, host, failed=True)
            self.assertEqual(self.enter(host), [None])

    def test_debts(self) -> None:
        """Time passes for debts; there is a most that one can owe, and an address is shut out until it owes nothing."""
        debts = Penalties()
        debts.add(HERE, FAILED_S, 0.0)
        debts.add(HERE, SHUT_OUT_FROM_S - FAILED_S - 1, 0.0)
        self.assertEqual(debts.left_s(HERE, 0.0), 0.0)
        debts.add(HERE, TOO_SLOW_S, 5.0)
        self.assertEqual(debts.left_s(HERE, 5.0), SHUT_OUT_FROM_S + TOO_SLOW_S - 6)
        debts.add(HERE, 10 * MOST_S, 10.0)
        self.assertEqual((debts.left_s(HERE, 10.0), debts.left_s(HERE, 10.0 + MOST_S)), (MOST_S, 0.0))

    def test_bounded(self) -> None:
        """A flood of addresses takes no more memory than this."""
        debts = Penalties()
        for number in range(MAX_SOURCES + 100):
            debts.add(str(number), MOST_S, 0.0)
        self.assertEqual(len(debts._debts), MAX_SOURCES)
        self.assertEqual((debts.left_s("0", 0.0), debts.left_s("100", 0.0)), (0.0, MOST_S))


class TransportTests(SynchronousTestCase):
    """The same on connections."""

    def pair(self, factory: ServerFactory, host: str = HERE) -> Pair:
        pair = Pair(factory=factory, client_address=IPv4Address("TCP", host, 50000))
        pair.pump()
        return pair

    def test_refused(self) -> None:
        """The client reads why, behind the server's version; the log says so once, and nothing of each."""
        bounds = Bounds(per_source_max_startups=1, prefix="teleport.connection_limits.")
        factory = ServerFactory(Clock(), SamplePolicy(), sample_host_keys(), ServerLimits(bounds=bounds))
        first = self.pair(factory)
        with capturedLogs() as logged:
            refused = [self.pair(factory) for _ in range(10)]
        sentence = (
            "192.0.2.7 has 1 connections that are not logged in, which is the limit"
            " (teleport.connection_limits.per_source_max_startups)."
        )
        for pair in refused:
            self.assertEqual(pair.client.errors, [(12, sentence.encode())])
            self.assertTrue(pair.server_tcp.losing)
            pair.lose()
        self.assertEqual(
            [sentence in formatEvent(event) for event in logged if event["log_level"].name == "warn"], [True]
        )
        self.assertEqual([event for event in logged if event["log_level"].name == "info"], [])
        first.log_in()
        self.assertEqual(self.pair(factory).client.errors, [])

    def test_conduct(self) -> None:
        """A probe owes nothing; who talks, fails or hangs does."""
        factory = ServerFactory(Clock(), SamplePolicy(), sample_host_keys())
        admission = factory.admission

        def owed(host: str) -> float:
            debt = admission.penalties._debts.get(host)
            return 0.0 if debt is None else debt.until - factory.clock.seconds()

        silent = Pair(factory=factory, client_address=IPv4Address("TCP", "192.0.2.1", 1))
        silent.lose()
        self.pair(factory, "192.0.2.2").lose()
        failing = self.pair(factory, "192.0.2.3")
        failing.begin_authentication()
        failing.send(50, ed25519_client().request(session_id=b"another"))
        failing.lose()
        hanging = self.pair(factory, "192.0.2.4")
        assert isinstance(factory.clock, Clock)
        factory.clock.advance(30)
        hanging.lose()
        self.assertEqual([owed("192.0.2.1"), owed("192.0.2.4")], [0.0, 10.0])
        self.assertEqual(admission.penalties._debts["192.0.2.2"].until, 1.0)
        self.assertEqual(admission.penalties._debts["192.0.2.3"].until, 2.0)
        self.assertEqual(admission.starting, {})
