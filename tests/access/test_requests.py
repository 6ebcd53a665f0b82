"""Who may ask for which roles."""

from __future__ import annotations

from random import Random

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access import role_patterns
from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Action, Target
from teleport_conch.access.options import Options, combine
from teleport_conch.access.requesting import Asker
from teleport_conch.access.requests import Claim, Requests
from teleport_conch.access.role_patterns import parse_mapping, parse_role_pattern
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from teleport_conch.errors import AccessDenied, BadParameter, TeleportError
from teleport_conch.resources.access_request import MAX_ROLES
from tests.access.asking import NOW, Decisions, person
from tests.access.test_roles import role_json

NAMES = ("dba", "dba-eu", "ops-eu", "ops-us", "admin", "access", "robot")
KNOWN = {name: USER_ROLES.get(name) or Role(name) for name in NAMES}
TRAITS = {"group": ("admins", "team-eu"), "app": ("web",)}

_PATTERNS = st.sampled_from(["dba", "ops-*", "*", "^(dba|ops)-eu$", '{{regexp.match("eu")}}', "nothing"])
_REQUESTS = st.builds(
    Requests,
    st.lists(_PATTERNS, max_size=2).map(tuple),
    st.lists(
        st.builds(
            Claim,
            st.sampled_from(["group", "app"]),
            st.sampled_from(["admins", "team-*", "^team-(..)$"]),
            st.lists(_PATTERNS, max_size=2).map(tuple),
        ),
        max_size=1,
    ).map(tuple),
)
_NO_REQUESTS = st.just(Requests())
_ROLES = st.lists(
    st.builds(
        lambda name, allow, deny, end: Role(
            name, allow=Conditions(request=allow), deny=Conditions(request=deny), expires_at=end
        ),
        st.text("abc", min_size=1, max_size=3),
        _REQUESTS,
        st.one_of(_NO_REQUESTS, _NO_REQUESTS, _REQUESTS),
        st.sampled_from([None, None, NOW - 1, NOW + 1]),
    ),
    max_size=4,
    unique_by=lambda role: role.name,
)


def asking(*roles: str, deny: tuple[str, ...] = (), claims: tuple[Claim, ...] = ()) -> Role:
    return Role("me", allow=Conditions(request=Requests(roles, claims)), deny=Conditions(request=Requests(deny)))


def asker(*roles: Role) -> Asker:
    return Asker("alice", roles, TRAITS)


def reachable(*roles: Role) -> list[str]:
    return list(asker(*roles).all_of(KNOWN, NOW))


class PatternTests(SynchronousTestCase):
    def test_patterns(self) -> None:
        """Names, globs and expressions are those of labels; functions look anywhere unless they are bound to an end."""
        for text, expected in (
            ("dba", ["dba"]),
            ("ops-*", ["ops-eu", "ops-us"]),
            ("^(dba|ops)-eu$", ["dba-eu", "ops-eu"]),
            ('{{regexp.match("-eu")}}', ["dba-eu", "ops-eu"]),
            ('{{regexp.match("^ops")}}', ["ops-eu", "ops-us"]),
            ('{{regexp.match("a$")}}', ["dba"]),
            ('{{regexp.match("^(dba|admin)$")}}', ["dba", "admin"]),
            ('ops-{{regexp.not_match("^eu$")}}', ["ops-us"]),
            ('{{regexp.match("^dba")}}-eu', ["dba-eu"]),
            ('{{regexp.not_match("-|a")}}', ["robot"]),
            ("$1", []),
        ):
            matches = parse_role_pattern(text, "roles")
            self.assertEqual([name for name in NAMES if matches(name)], expected, text)

    def test_overlap(self) -> None:
        """Text around the braces does not count twice."""
        matches = parse_role_pattern('aba{{regexp.match(".*")}}aba', "roles")
        self.assertEqual([matches(text) for text in ("aba", "ababa", "abaaba")], [False, False, True])

    def test_refused(self) -> None:
        """What cannot be used is refused when the role is read."""
        for text, sentence in (
            ("", "roles is empty; write the name of a role, or a pattern."),
            ("^($", "roles: the expression ^($ cannot be used: a parenthesis is not closed."),
            (
                "{{internal.logins}}",
                "roles, column 3: internal.logins is not known; the functions are regexp.match",
            ),
            ("{{regexp.match(x)}}", "roles, column 16: a text in double quotes is expected there."),
            ('{{regexp.match("(")}}', "roles, column 16: the expression "),
            (
                '{{regexp.match("^a|b$")}}',
                "roles, column 16: ^ and $ bind all alternatives: put these into paren",
            ),
            ("{{regexp", "roles: '{{regexp' is not a template like {{regexp.match("),
        ):
            error = self.assertRaises(BadParameter, parse_role_pattern, text, "roles")
            self.assertIn(sentence, error.sentence)

    def test_mapping(self) -> None:
        """A star or a group of the value gives a name, which is literal."""
        for value, role, found, expected in (
            ("team-*", "dba-$1", "team-eu", "dba-eu"),
            ("^team-(..)$", "ops-${1}", "team-us", "ops-us"),
            ("team-*", "$1", "team-*", "*"),
            ("a.b", "x$$", "a.b", "x$"),
            ("^a|b$", "x$0", "bc", None),
        ):
            self.assertEqual(parse_mapping(value, role, "roles")(found), expected)
        error = self.assertRaises(BadParameter, parse_mapping, "plain", "$1", "roles")
        self.assertIn("roles: '$1': a $ begins $1", error.sentence)


class AskerTests(SynchronousTestCase):
    def test_all(self) -> None:
        """Whatever some role allows and none denies, but what the person has, and the robots' role."""
        self.assertEqual(reachable(asking("*")), sorted(set(NAMES) - {"robot"}))
        self.assertEqual(reachable(asking("*"), USER_ROLES["access"]), ["admin", "dba", "dba-eu", "ops-eu", "ops-us"])
        self.assertEqual(reachable(asking("dba*", deny=("*-eu",))), ["dba"])
        self.assertEqual(reachable(asking("dba"), evolve(asking(deny=("*",)), name="other")), [])
        self.assertEqual(reachable(), [])

    def test_claims(self) -> None:
        """Traits lead to roles, by patterns and by what their values hold."""
        self.assertEqual(reachable(asking(claims=(Claim("group", "admins", ("dba",)),))), ["dba"])
        self.assertEqual(
            reachable(asking(claims=(Claim("group", "team-*", ("ops-$1", "d*")),))), ["dba", "dba-eu", "ops-eu"]
        )
        self.assertEqual(reachable(asking(claims=(Claim("group", "nobody", ("dba",)),))), [])
        self.assertEqual(reachable(asking(claims=(Claim("other", "*", ("dba",)),))), [])

    def test_no_trait_makes_a_pattern(self) -> None:
        """A value with a star in it stands for a role of that very name."""
        role = asking(claims=(Claim("group", "team-*", ("$1",)),))
        self.assertEqual(Asker("eve", (role,), {"group": ("team-*", "team-dba")}).all_of(KNOWN, NOW), ("dba",))

    def test_time(self) -> None:
        """A role that is over allows and denies nothing, and is not asked for."""
        over = evolve(asking("*"), expires_at=NOW)
        self.assertEqual(reachable(over), [])
        self.assertEqual(reachable(asking("dba"), evolve(asking(deny=("*",)), name="x", expires_at=NOW)), ["dba"])
        gone = {"dba": evolve(KNOWN["dba"], expires_at=NOW)}
        self.assertEqual(asker(asking("*")).all_of(gone, NOW), ())

    def test_wanted(self) -> None:
        """Names are taken as they are, a star stands for all; whatever may not be asked for is refused."""
        of_alice = asker(asking("dba*"))
        self.assertEqual(of_alice.wanted(("dba-eu", "dba", "dba"), KNOWN, NOW), ("dba", "dba-eu"))
        self.assertEqual(of_alice.wanted(("*",), KNOWN, NOW), ("dba", "dba-eu"))
        for names, kind, sentence in (
            (("ops-eu",), AccessDenied, "The user alice may not ask for the role ops-eu."),
            (("*", "nosuch"), AccessDenied, "The user alice may not ask for the role nosuch."),
            ((), BadParameter, "Say which roles are asked for, or * for all that may be."),
            (("me",), BadParameter, "The user alice has the role me already."),
        ):
            error = self.assertRaises(kind, of_alice.wanted, names, KNOWN, NOW)
            self.assertEqual(error.sentence, sentence)
        nobody = self.assertRaises(AccessDenied, asker(asking("x")).wanted, ("*",), KNOWN, NOW)
        self.assertEqual(nobody.sentence, "The user alice may ask for no role.")

    def test_too_many(self) -> None:
        many = {f"r{number}": Role(f"r{number}") for number in range(MAX_ROLES + 1)}
        error = self.assertRaises(BadParameter, asker(asking("r*")).wanted, ("*",), many, NOW)
        self.assertEqual(error.sentence, "These are 33 roles, and one request is for 32 at most; name some.")

    def test_annotations(self) -> None:
        """What roles say is put together; what one denies is left out."""
        says = Role("a", allow=Conditions(request=Requests(annotations={"page": ("one", "{{external.app}}-oncall")})))
        more = Role("b", allow=Conditions(request=Requests(annotations={"page": ("two",), "mail": ("x",)})))
        less = Role("c", deny=Conditions(request=Requests(annotations={"page": ("two",)})))
        self.assertEqual(asker(says, more, less).annotations(NOW), {"mail": ("x",), "page": ("one", "web-oncall")})

    @given(_ROLES, st.randoms(use_true_random=False))
    def test_order_never_matters(self, roles: list[Role], random: Random) -> None:
        """Permuting the roles changes nothing."""
        permuted = list(roles)
        random.shuffle(permuted)
        self.assertEqual(reachable(*roles), reachable(*permuted))
        self.assertEqual(combine(role.options for role in roles), combine(role.options for role in permuted))

    @given(_ROLES, _REQUESTS)
    def test_a_deny_never_grants(self, roles: list[Role], deny: Requests) -> None:
        """One more role that only denies takes away at most, and all that it names."""
        denying = Role("denying", deny=Conditions(request=deny))
        found = reachable(*roles, denying)
        self.assertLessEqual(set(found), set(reachable(*roles)))
        self.assertFalse([name for name in found if deny.names(name, TRAITS)])

    @given(_ROLES, _REQUESTS)
    def test_never_what_one_has(self, roles: list[Role], more: Requests) -> None:
        """Nobody asks for a role that they have, nor for the robots'."""
        having = Role("dba", allow=Conditions(request=more))
        self.assertFalse({"dba", "robot"} & set(reachable(*roles, having)))


class RoleTests(SynchronousTestCase):
    REQUEST = {
        "roles": ["dba", 'ops-{{regexp.match("eu")}}'],
        "claims_to_roles": [{"claim": "group", "value": "team-*", "roles": ["ops-$1"]}],
        "annotations": {"page": ["{{external.app}}", "desk"]},
    }

    def test_round_trip(self) -> None:
        """What is written can be read; a role without any says nothing of it."""
        options = {"request_access": "reason", "request_prompt": "ticket?"}
        role = Role.from_json(
            role_json(options=options, allow={"request": self.REQUEST}, deny={"request": {"roles": ["x"]}})
        )
        self.assertEqual(Role.from_json(role.to_json()), role)
        allow = role.to_json()["spec"]["allow"]  # type: ignore[index]  # nested objects
        self.assertEqual(allow["request"], self.REQUEST)
        self.assertEqual((role.options.request_access, role.options.request_prompt), ("reason", "ticket?"))
        spec = str(Role("plain").to_json())
        self.assertNotIn("request", spec)

    def test_refused(self) -> None:
        for value, sentence in (
            ({"role": ["x"]}, "role.spec.allow.request.'role' is not known."),
            ({"roles": ["a", "^($"]}, "role.spec.allow.request.roles[1]: the expression ^($ cannot be used"),
            ({"roles": ["x"] * 65}, "role.spec.allow.request.roles has more than 64 items."),
            (
                {"claims_to_roles": [{"claim": "a"}]},
                "role.spec.allow.request.claims_to_roles[0].value",
            ),
            (
                {"claims_to_roles": [{"claim": "a", "value": "b", "roles": ["$1"]}]},
                "role.spec.allow.request.claims_to_roles[0].roles: '$1': a $ begins",
            ),
            (
                {"annotations": {"a": ["{{x}}"]}},
                "request.annotations.a, column 4: . is expected there.",
            ),
            ({"annotations": {"": []}}, "role.spec.allow.request.annotations has at most 16 entries, each with a name"),
        ):
            error = self.assertRaises(TeleportError, Role.from_json, role_json(allow={"request": value}))
            self.assertIn(sentence, error.sentence)
        for options, sentence in (
            (
                {"request_access": "never"},
                "request_access has to be one of optional, always, reason.",
            ),
            ({"request_prompt": "x" * 257}, "role.spec.options.request_prompt is longer than 256 characters."),
        ):
            error = self.assertRaises(BadParameter, Role.from_json, role_json(options=options))
            self.assertIn(sentence, error.sentence)

    def test_options_together(self) -> None:
        """A reason outdoes all others, and of several prompts the first by the alphabet is shown."""
        always, reason = Options(request_access="always"), Options(request_access="reason", request_prompt="b")
        found = combine((reason, always, Options(request_prompt="a")))
        self.assertEqual((found.request_access, found.request_prompt), ("reason", "a"))
        self.assertEqual(combine((Options(), always)).request_access, "always")


class OwnRequestTests(Decisions):
    def test_own(self) -> None:
        """Who may ask may ask for themselves, see what becomes of it, and have it in a certificate; and no more."""
        alice = person(asking("dba"))
        for verb, kind in (("create", "access_request"), ("read", "access_request"), ("create", "user_cert")):
            self.assert_allowed(alice, Action(verb, kind), Target(user=alice.name))
            self.assert_denied(alice, Action(verb, kind), Target(user="bob"))
        for verb in ("update", "delete"):
            self.assert_denied(alice, Action(verb, "access_request"), Target(user=alice.name))

    def test_nothing_to_ask(self) -> None:
        """An entry that only denies, or only annotates, gives nothing."""
        for role in (asking(deny=("dba",)), Role("x", allow=Conditions(request=Requests(annotations={"a": ("b",)})))):
            self.assert_denied(person(role), Action("create", "access_request"), Target(user=person(role).name))

    def test_denied(self) -> None:
        """A rule that denies wins here, too."""
        denying = Role("no", deny=Conditions(rules=(Rule(("access_request",), ("*",)),)))
        caller = person(asking("dba"), denying)
        self.assert_denied(caller, Action("create", "access_request"), Target(user=caller.name))


class CostTests(SynchronousTestCase):
    """A role is read by every host, and looked at whenever somebody asks."""

    def read(self, **request: object) -> str:
        allow = {"allow": {"request": request}}
        return str(self.assertRaises(BadParameter, Role.from_json, role_json(**allow)).sentence)

    def test_expressions(self) -> None:
        """All claims together have as many expressions as the labels of a side, refused before any is compiled."""
        claims = [{"claim": "group", "value": "x", "roles": ["^(a$"] * 43}] * 3
        self.assertIn("request has more than 128 regular expressions.", self.read(claims_to_roles=claims))

    def test_mapped(self) -> None:
        claims = [{"claim": "group", "value": "team-*", "roles": ["$1"] * 33}] * 2
        self.assertIn("request has more than 64 names with a $ in them.", self.read(claims_to_roles=claims))

    def test_annotations(self) -> None:
        values = ['{{regexp.replace(external.team, "x", "y")}}'] * 9
        self.assertIn("has more than 16 times regexp.replace", self.read(annotations={"a": values, "b": values}))

    def test_once(self) -> None:
        """What a value makes is worked out once, however many roles it is compared with."""
        made: list[str] = []

        def counted(text: str) -> str:
            made.append(text)
            return text

        self.patch(role_patterns, "compile_replacement", lambda expression, role: counted)
        role = asking(claims=(Claim("group", "team-*", ("$1",)),))
        Asker("alice", (role,), TRAITS).all_of(KNOWN, NOW)
        self.assertEqual(made, ["team-eu"])
