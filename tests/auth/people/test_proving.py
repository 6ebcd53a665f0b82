"""Threats 33 to 35 and the rest of what may be wrong with a login: one answer, the same work, and a lockout."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred

from teleport_conch.auth.people import attempts, passwords
from teleport_conch.auth.people.credentials import Credentials
from teleport_conch.auth.people.proving import Given
from teleport_conch.errors import LoginRefused
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import User
from tests.auth.fixture import NOW
from tests.auth.people.case import ALICE, CLIENT, PASSWORD, REFUSED, PeopleTestCase, code

LOCKED = (
    "Too many logins failed under this name; try again in 20 minutes, or ask an administrator to lift it with"
    " 'tctl users unlock'."
)


class Counting:
    """A storage that counts what is asked of it."""

    def __init__(self, backend: object) -> None:
        self._backend = backend
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name in ("get", "put", "create", "delete", "range", "compare_and_swap"):
            self.calls.append(name)
        return getattr(self._backend, name)


class LoginTests(PeopleTestCase):
    def test_log_in(self) -> None:
        self.settle()
        answer = self.log_in()
        self.assertEqual((answer.status, answer.body["user"], answer.body["roles"]), (200, "alice", ["access"]))
        [event] = self.emitted.named("user.login")
        about = {"user": "alice", "method": "local", "addr.remote": CLIENT, "attributes": {"second_factor": "otp"}}
        self.assertEqual((event.success, event.fields), (True, about))

    def test_what_may_be_wrong(self) -> None:
        """One answer for all of it; the event says what it was, to those who may read events."""
        self.settle()
        self.add(User("bob", ("access",)))
        self.add(User("carol", ("access",), expires_at=NOW + 30))
        good = self.code()
        for name, password, otp, said in (
            ("mallory", PASSWORD, good, "there is no such user, or no longer"),
            ("alice", "tangerine tangerine", good, "the password is wrong"),
            ("alice", PASSWORD, "000000", "the code of the second factor is wrong, or was used before"),
            ("alice", PASSWORD, "", "the code of the second factor is wrong, or was used before"),
            ("bob", PASSWORD, good, "the user has not set a password"),
            ("carol", PASSWORD, good, "there is no such user, or no longer"),
        ):
            answer = self.log_in(name, password, otp)
            self.assertEqual((answer.status, answer.code, answer.sentence), (401, "LOGIN_REFUSED", REFUSED))
            self.assertEqual(self.errors()[-1], said)
        self.assertEqual(self.emitted.named("cert.create"), [])

    def test_33_34_odd_input(self) -> None:
        """Names that are none, passwords that nobody has: refused like a wrong one, and no path is made of them."""
        self.settle()
        for name in ("root%00x", "-oProxyCommand=x", "%25u", "%E2%80%AEecila", "x" * 10_000):
            answer = self.log_in(name, PASSWORD, "123456")
            self.assertEqual((answer.status, answer.sentence), (401, REFUSED), name)
        for password in ("", "x" * 256, "x" * 1024, "x\0y", PASSWORD + "\0"):
            self.now(self.cluster.people.unlock(ALICE))
            answer = self.log_in("alice", password)
            self.assertEqual((answer.status, answer.sentence), (401, REFUSED))
        for item in self.now(self.backend.range("")):
            self.assertNotIn("oProxyCommand", item.key)

    def test_35_same_work(self) -> None:
        """Of a user who exists and one who does not: as many hashes, and the same calls of the storage in one order."""
        self.settle()
        people = self.cluster.people
        work = []
        for name in ("alice", "mallory", "-oProxyCommand=x"):
            counting, hashes = Counting(self.backend), list[object]()

            async def hashed(call: object, hashes: list[object] = hashes) -> bytes:
                hashes.append(call)
                return b"\0" * 32

            for part in (people.attempts, people.vault):
                self.patch(part, "_backend", counting)
            self.patch(people.hashing, "_in_pool", hashed)
            given = Given(name, "a wrong password", "123456", "", CLIENT, "local")
            self.refused(people.proving.prove(given), LoginRefused)
            work.append((len(hashes), tuple(counting.calls)))
        self.assertEqual(work[0][0], 1)
        self.assertEqual(set(work), {work[0]})

    def test_otp_twice(self) -> None:
        """A code is good once, also under the right password."""
        self.settle()
        otp = self.code()
        self.assertEqual(self.log_in(otp_token=otp).status, 200)
        self.assertEqual(self.log_in(otp_token=otp).sentence, REFUSED)
        self.assertEqual(self.errors(), ["the code of the second factor is wrong, or was used before"])
        self.clock.advance(30)
        self.assertEqual(self.log_in().status, 200)

    def test_otp_of_the_invitation(self) -> None:
        """The code by which the second factor was set up is used as well."""
        self.add()
        token = self.invite()
        self.accept(token)
        self.assertEqual(self.log_in().sentence, REFUSED)

    def test_otp_twice_at_once(self) -> None:
        """Of two logins with one code, one gets in, whichever storage call comes between them."""
        self.settle()
        people = self.cluster.people
        held: list[Deferred[bytes]] = []

        async def slow(call: object) -> bytes:
            held.append(Deferred())
            await held[-1]
            return call()  # type: ignore[operator,no-any-return]  # what is to be hashed

        self.patch(people.hashing, "_in_pool", slow)
        given = Given("alice", PASSWORD, self.code(), "", CLIENT, "local")
        first = Deferred.fromCoroutine(people.proving.prove(given))
        second = Deferred.fromCoroutine(people.proving.prove(given))
        self.assertEqual(len(held), 1)  # the second waits for its turn
        held[0].callback(b"")
        held[1].callback(b"")
        self.assertEqual(self.successResultOf(first).user.name, "alice")
        self.failureResultOf(second, LoginRefused)

    def test_otp_used_elsewhere(self) -> None:
        """The same where another auth server was quicker: the storage decides, before anybody is let in."""
        self.settle()
        people = self.cluster.people
        given = Given("alice", PASSWORD, self.code(), "", CLIENT, "local")

        async def beaten(call: object) -> bytes:
            credentials = await people.vault.find("alice")
            await people.vault.put("alice", evolve(credentials, last_period=int(self.clock.seconds()) // 30))
            return call()  # type: ignore[operator,no-any-return]  # what is to be hashed

        self.patch(people.hashing, "_in_pool", beaten)
        self.refused(people.proving.prove(given), LoginRefused)
        self.assertEqual(self.errors(), ["the code was used by another login at the same time, or the user was reset"])

    def test_recovery_code(self) -> None:
        """In place of an authenticator that was lost, each once; the event says that it was one."""
        self.settle()
        for recovery in self.codes["alice"][:2]:
            self.assertEqual(self.log_in(otp_token="", recovery_code=recovery.upper()).status, 200)
            self.assertEqual(self.log_in(otp_token="", recovery_code=recovery).sentence, REFUSED)
        self.assertEqual(
            [event.fields["attributes"] for event in self.emitted.named("user.login") if event.success],
            [{"second_factor": "recovery code"}] * 2,
        )

    def test_recovery_code_of_another(self) -> None:
        self.settle()
        self.settle(User("bob", ("access",)))
        self.assertEqual(self.log_in("bob", otp_token="", recovery_code=self.codes["alice"][0]).sentence, REFUSED)

    def test_recovery_code_with_a_wrong_password(self) -> None:
        """It is not used up by it."""
        self.settle()
        recovery = self.codes["alice"][0]
        self.assertEqual(self.log_in(password="x" * 12, otp_token="", recovery_code=recovery).status, 401)
        self.assertEqual(self.log_in(otp_token="", recovery_code=recovery).status, 200)

    def test_costs_raised(self) -> None:
        """A password is hashed anew at the first login after the costs were raised."""
        self.settle()
        self.patch(passwords, "SCRYPT_LOG2_N", 2)
        self.assertEqual(self.log_in().status, 200)
        kept = self.now(self.cluster.people.vault.find("alice")).password
        assert kept is not None
        self.assertEqual(kept.log2_n, 2)
        self.clock.advance(30)
        self.assertEqual(self.log_in().status, 200)

    def test_no_room_for_the_event(self) -> None:
        """Nobody is let in without a trace."""
        self.settle()
        self.emitted.full = True
        answer = self.log_in()
        self.assertEqual((answer.status, answer.code), (507, "STORAGE_FULL"))
        self.assertIn("Nobody is let in, as the event that says so cannot be kept.", answer.sentence)

    def test_84_inert(self) -> None:
        """What was typed as a name is kept as it is, within bounds, and reaches no terminal alive."""
        self.log_in("%1b%5b2J%E2%80%AEroot%0A" + "x" * 5000, PASSWORD, "123456")
        [event] = self.emitted.named("user.login")
        self.assertTrue(str(event.fields["user"]).startswith("\x1b[2J\u202eroot\n"))

    def test_nothing_secret(self) -> None:
        """Neither in what is stored, nor in events, nor in what is answered."""
        self.settle()
        self.log_in()
        self.log_in(password="tangerine tangerine")
        everything = str([item.value for item in self.now(self.backend.range(""))]) + str(self.emitted.events)
        for secret in (PASSWORD, "tangerine", *self.codes["alice"]):
            self.assertNotIn(secret, everything)
        self.assertNotIn(self.secrets["alice"], str(self.emitted.events))


class LockoutTests(PeopleTestCase):
    def miss(self, name: str = "alice", times: int = 1, address: str = CLIENT) -> list[str]:
        return [self.log_in(name, "a wrong password", "123456", address=address).sentence for _ in range(times)]

    def test_after_five(self) -> None:
        """Five failures within half an hour, and the right password gets nobody in for twenty minutes."""
        self.settle()
        self.assertEqual(self.miss(times=5), [REFUSED] * 5)
        answer = self.log_in()
        self.assertEqual((answer.status, answer.code, answer.sentence), (429, "LOCKED_OUT", LOCKED))
        self.assertEqual(answer.body["error"]["seconds"], 1200)  # type: ignore[index]  # an object
        [event] = self.emitted.named("user.lockout")
        self.assertEqual((event.fields["name"], event.fields["count"]), ("alice", 5))
        self.assertEqual(self.errors()[-1], "locked out, as too many logins failed")
        self.clock.advance(1199)
        self.assertEqual(self.log_in().code, "LOCKED_OUT")
        self.clock.advance(1)
        self.assertEqual(self.log_in().status, 200)

    def test_unknown_names_too(self) -> None:
        """A lockout does not tell who exists: the answers are the same, word by word, until it ends and after."""
        self.settle()
        known = [*self.miss("alice", 6), self.log_in("alice", "x", "1").sentence]
        self.clock.advance(61)
        unknown = [*self.miss("mallory", 6), self.log_in("mallory", "x", "1").sentence]
        self.assertEqual(known, unknown)
        self.clock.advance(1200)
        self.assertEqual(self.miss("alice"), self.miss("mallory"))

    def test_window(self) -> None:
        """Failures count for half an hour, and a login forgets them."""
        self.settle()
        self.miss(times=4)
        self.clock.advance(30 * 60)
        self.miss(times=4)
        self.assertEqual(self.log_in().status, 200)
        self.clock.advance(60)
        self.miss(times=4)
        self.assertEqual(self.log_in().status, 200)

    def test_restart(self) -> None:
        """A restart forgets neither failures nor a lockout."""
        self.settle()
        self.miss(times=3)
        self.open()
        self.miss(times=2)
        self.open()
        self.assertEqual(self.log_in().code, "LOCKED_OUT")

    def test_at_once(self) -> None:
        """Guesses that are made at once are no more than those made one by one."""
        self.settle()
        people = self.cluster.people
        given = Given("alice", "a wrong password", "123456", "", CLIENT, "local")
        tries = [Deferred.fromCoroutine(people.proving.prove(given)) for _ in range(10)]
        codes = [self.failureResultOf(each).value.code for each in tries]
        self.assertEqual(codes, ["LOGIN_REFUSED"] * 5 + ["LOCKED_OUT"] * 5)

    def test_bounded(self) -> None:
        """However many names are tried, there are so many counters."""
        self.patch(attempts, "UNKNOWN_NAMES_COUNTED", 4)
        for number in range(40):
            self.miss(f"name{number}", address=f"10.0.{number}.1")
        self.assertLessEqual(len(self.now(self.backend.range("attempts/"))), 4)

    def test_shown_and_lifted(self) -> None:
        """An administrator sees who is locked out, and lets them in again."""
        self.settle()
        self.miss(times=5)
        shown = User.from_json(self.call(self.admin(), "GET", "/v1/users/alice").body)
        assert shown.lock is not None
        self.assertEqual((shown.lock.until, shown.lock.message), (NOW + 60 + 1200, "5 logins failed within 30 minutes"))
        [listed] = self.call(self.admin(), "GET", "/v1/users").items
        self.assertEqual(User.from_json(listed).lock, shown.lock)
        self.assertEqual(self.call(self.admin(), "DELETE", "/v1/users/alice/lockout").status, 200)
        [event] = self.emitted.named("user.unlock")
        self.assertEqual(event.fields, {"name": "alice", "user": "tctl on the auth host"})
        self.assertEqual(self.log_in().status, 200)
        self.assertEqual(self.call(self.admin(), "DELETE", "/v1/users/bob/lockout").status, 404)

    def test_many_wait(self) -> None:
        """Logins under one name go one by one; so many wait, and the next one is told to come later."""
        self.settle()
        people = self.cluster.people

        never: Deferred[bytes] = Deferred()

        async def stuck(call: object) -> bytes:
            return await never

        self.patch(people.hashing, "_in_pool", stuck)
        given = Given("alice", PASSWORD, "123456", "", CLIENT, "local")
        waiting = [Deferred.fromCoroutine(people.proving.prove(given)) for _ in range(33)]
        answer = self.log_in()
        self.assertEqual((answer.status, answer.code), (429, "LIMIT_EXCEEDED"))
        self.assertEqual(
            answer.sentence, "Too many logins under this name are in progress; try again in a few seconds."
        )
        for each in reversed(waiting):
            each.cancel()
            self.failureResultOf(each)


class LockTests(PeopleTestCase):
    """What an administrator locks, in contrast to what failed logins do."""

    def lock(self, lock: Lock) -> None:
        self.now(self.cluster.locks.shelf.create(lock))

    def test_user(self) -> None:
        """Who is locked hears why, and hears it only with the right password and code."""
        self.settle()
        self.lock(Lock("x", user="alice", message="see the help desk"))
        self.assertEqual(self.log_in(password="a wrong password").sentence, REFUSED)
        answer = self.log_in()
        self.assertEqual((answer.status, answer.code), (403, "ACCESS_DENIED"))
        self.assertEqual(answer.sentence, "The user 'alice' is locked by an administrator (see the help desk).")
        self.assertEqual(self.errors()[-1], "locked by an administrator (see the help desk)")
        self.assertEqual(self.emitted.named("cert.create"), [])

    def test_role(self) -> None:
        self.settle()
        self.lock(Lock("x", role="access", expires_at=self.clock.seconds() + 60))
        self.assertEqual(self.log_in().sentence, "The user 'alice' is locked by an administrator.")
        self.clock.advance(60)
        self.assertEqual(self.log_in().status, 200)

    def test_others(self) -> None:
        """A lock on something else, or on a login, lets people log in."""
        self.settle()
        self.lock(Lock("x", user="bob"))
        self.lock(Lock("y", user="alice", login="root"))
        self.assertEqual(self.log_in().status, 200)


class AddressTests(PeopleTestCase):
    def test_by_address(self) -> None:
        """Twenty failures in a minute from one address; from elsewhere people go on logging in."""
        self.settle()
        for number in range(20):
            self.assertEqual(self.log_in(f"name{number}", PASSWORD, "123456").sentence, REFUSED)
        answer = self.log_in()
        self.assertEqual((answer.status, answer.code), (429, "LIMIT_EXCEEDED"))
        self.assertEqual(answer.sentence, "Too many failed attempts from 192.0.2.7; try again in 60 seconds.")
        self.assertEqual(self.log_in(address="192.0.2.8").status, 200)

    def test_the_address_that_the_proxy_vouches_for(self) -> None:
        """In its usual form; what is no address is refused."""
        self.settle()
        self.assertEqual(self.log_in(address="::ffff:192.0.2.9").status, 200)
        self.assertEqual(self.emitted.named("user.login")[-1].fields["addr.remote"], "192.0.2.9")
        for address in ("localhost", "192.0.2.9:22", "10.0.0.0/8", "", "x" * 100):
            self.assertEqual(self.log_in(address=address).code, "BAD_PARAMETER")


class SecondFactorOffTests(PeopleTestCase):
    def test_off(self) -> None:
        """A password is enough where the cluster asks for nothing else."""
        for part in (self.cluster.people.proving, self.cluster.people.invites):
            self.patch(part, "_required", lambda: "off")
        self.add()
        token = self.invite()
        self.assertEqual(self.open_link(token).body["second_factor"], "off")
        self.assertEqual(self.accept(token).body["recovery_codes"], [])
        self.assertEqual(self.log_in(otp_token="").status, 200)
        self.assertEqual(self.log_in(password="x" * 12, otp_token="").sentence, REFUSED)

    def test_reset_meanwhile(self) -> None:
        """A reset makes the password worthless for a login that is under way, too."""
        for part in (self.cluster.people.proving, self.cluster.people.invites):
            self.patch(part, "_required", lambda: "off")
        self.add()
        self.accept(self.invite())
        usual = passwords.Hashing.verify

        async def slow(hashing: passwords.Hashing, typed: str, kept: passwords.PasswordHash | None) -> bool:
            right = await usual(hashing, typed, kept)
            await self.cluster.people.vault.put("alice", Credentials())
            return right

        self.patch(passwords.Hashing, "verify", slow)
        self.assertEqual(self.log_in(otp_token="").sentence, REFUSED)
        self.assertEqual(self.errors(), ["the user was reset at the same time"])

    def test_switched_on(self) -> None:
        """Who has none then is refused, and an administrator is told what to do."""
        for part in (self.cluster.people.proving, self.cluster.people.invites):
            self.patch(part, "_required", lambda: "off")
        self.add()
        self.accept(self.invite())
        self.patch(self.cluster.people.proving, "_required", lambda: "otp")
        self.assertEqual(self.log_in(otp_token=code("A" * 32, self.clock.seconds())).sentence, REFUSED)
        self.assertEqual(
            self.errors(), ["the user has no second factor; 'tctl users reset' gives a link to set one up"]
        )
