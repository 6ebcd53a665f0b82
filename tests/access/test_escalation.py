"""Nobody gives what they do not hold, and the last administrator stays."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from teleport_conch.access.builtin import USER_ROLES, resolve
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Caller, Facts, Login, Target
from teleport_conch.access.escalation import Everybody, Person, administers, check_person, check_role, check_way_in
from teleport_conch.access.holding import covers
from teleport_conch.access.kubernetes import Kubernetes
from teleport_conch.access.labels import LabelSelector
from teleport_conch.access.locks import Locks
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import OWN_RECORDS, OWN_SESSIONS, READ_WRITE, Rule
from teleport_conch.access.trace import explain
from teleport_conch.errors import LastAdministrator, NotHeld
from teleport_conch.resources.lock import Lock
from tests.access.asking import NOW, Decisions, host, person

_EDITS = Rule(("role", "user"), READ_WRITE)
DEV_ADMIN = Role(
    "dev-admin",
    Options(8 * 3600.0, port_forwarding=True, client_idle_timeout_s=600.0, pin_source_ip=True, max_sessions=5),
    Conditions(("root", "web"), LabelSelector({"env": ("dev-*", "test")}), (_EDITS, Rule(("node",), ("list",)))),
)
NARROW = Options(3600.0, port_forwarding=False, client_idle_timeout_s=60.0, pin_source_ip=True, max_sessions=1)
_VALUES = ["a", "ab", "a*", "*b", "*", "^a.*$", "^(a|b)$", "{{external.x}}"]
_SELECTORS = st.one_of(
    st.just(LabelSelector({"*": ("*",)})),
    st.dictionaries(
        st.sampled_from(["env", "team"]),
        st.lists(st.sampled_from(_VALUES), min_size=1, max_size=2).map(tuple),
        max_size=2,
    ).map(LabelSelector),
)


def logins(*names: str, **labels: str) -> Conditions:
    return Conditions(names, LabelSelector({key: tuple(value.split(",")) for key, value in labels.items()}))


def role(allow: Conditions | None = None, deny: Conditions | None = None, options: Options = NARROW) -> Role:
    return Role("x", options, allow or Conditions(), deny or Conditions())


def refusal(editor: Caller, before: Role | None, after: Role | None) -> str:
    """Why not; empty where it is allowed."""
    try:
        check_role(editor, before, after, NOW)
    except NotHeld as reason:
        start = "Nobody gives what they do not hold, and user alice@example.com does not hold: "
        assert reason.sentence.startswith(start), reason.sentence
        return reason.sentence.removeprefix(start).removesuffix(".")
    return ""


class RoleTests(Decisions):
    def setUp(self) -> None:
        self.editor = person(DEV_ADMIN)

    def test_logins(self) -> None:
        """A login on nodes is held by who has it there, or root; nowhere else."""
        for allow, expected in (
            (logins("web", env="test"), ""),
            (logins("anything", env="dev-1"), ""),
            (logins("{{external.x}}", env="dev-1,test"), ""),
            (logins("web", env="dev-*", team="db"), ""),
            (logins("web", env="dev-eu-*"), ""),
            (logins("web"), ""),
            (logins("web", env="prod"), "the login web on nodes with env: prod"),
            (logins("web", env="dev*"), "the login web on nodes with env: dev*"),
            (logins("web", env="^dev-1$"), "the login web on nodes with env: ^dev-1$"),
            (logins("web", env="{{external.x}}"), "the login web on nodes with env: nothing"),
            (logins("web", team="db"), "the login web on nodes with team: db"),
            (Conditions(("web",), LabelSelector({"*": ("*",)})), "the login web on every node"),
        ):
            self.assertEqual(refusal(self.editor, None, role(allow)), expected)

    def test_what_was_there(self) -> None:
        """What a role gives already is not given again; what is added is."""
        before = role(logins("web", env="prod"))
        self.assertEqual(refusal(self.editor, before, evolve(before, description="x")), "")
        self.assertEqual(refusal(self.editor, before, role(logins("web", env="prod", team="db"))), "")
        self.assertIn("the login db on", refusal(self.editor, before, role(logins("web", "db", env="prod"))))
        self.assertEqual(refusal(self.editor, before, None), "")

    def test_expiry(self) -> None:
        """To prolong a role is to give it again, and so is to wake one that has expired."""
        before = evolve(role(logins("web", env="prod")), expires_at=NOW + 1)
        self.assertEqual(refusal(self.editor, before, evolve(before, expires_at=NOW + 0.5)), "")
        self.assertIn("prod", refusal(self.editor, before, evolve(before, expires_at=None)))
        expired = evolve(before, expires_at=NOW - 1)
        self.assertIn("prod", refusal(self.editor, expired, evolve(expired, expires_at=NOW + 1)))

    def test_denials(self) -> None:
        """A denial that is taken back gives; so does a role without a denial that the editor has."""
        before = role(deny=Conditions(("root",), LabelSelector({"env": ("prod",)}), (Rule(("token",), ("list",)),)))
        self.assertEqual(
            refusal(self.editor, before, None),
            "the login root on every node, of which the denial would be taken back;"
            " the login root on nodes with env: prod, of which the denial would be taken back; list on token",
        )
        kept = role(deny=Conditions(("root", "web"), LabelSelector({"env": ("prod", "dev")}), before.deny.rules))
        self.assertEqual(refusal(self.editor, before, kept), "")
        barred = person(DEV_ADMIN, Role("no-db", deny=logins("mysql", team="db")))
        self.assertEqual(
            refusal(barred, None, role(logins("web", env="test"))),
            "the login web on nodes with team: db, which a role of the editor denies",
        )
        self.assertEqual(refusal(barred, None, role(logins("web", env="test"), logins(team="db,x"))), "")
        self.assertIn("the login mysql", refusal(barred, None, role(logins("mysql", env="test"), logins(team="db"))))
        self.assertEqual(refusal(person(*resolve(["admin"])), before, None), "")

    def test_rules(self) -> None:
        """Verbs on kinds, with their conditions."""
        for rule, expected in (
            (Rule(("node",), ("list",)), ""),
            (Rule(("node",), ("list",), OWN_RECORDS), ""),
            (Rule(("role",), ("readnosecrets",)), ""),
            (Rule(("node",), ("list", "delete")), "delete on node"),
            (Rule(("*",), ("list",)), "list on *"),
            (Rule(("role",), ("*",)), ""),
        ):
            self.assertEqual(refusal(self.editor, None, role(Conditions(rules=(rule,)))), expected)
        where = 'contains(user.spec.traits["x"], resource.metadata.name)'
        for whose in (OWN_RECORDS, OWN_SESSIONS):
            own = Rule(("event",), ("list",), whose)
            mine = Role("mine", NARROW, Conditions(rules=(own, Rule(("event",), ("delete",), where))))
            self.assertEqual(refusal(person(mine), None, role(Conditions(rules=(own,)))), "")
        self.assertEqual(
            refusal(person(mine), None, role(Conditions(rules=(Rule(("event",), ("list",)),)))), "list on event"
        )
        other = role(Conditions(rules=(Rule(("event",), ("delete",), where),)))
        self.assertEqual(
            refusal(person(mine), None, other), f"delete on event where {where}", "of whoever has the role"
        )
        for where in ('equals(user.metadata.name, "alice")', 'equals(user.id, "alice")'):
            named = Rule(("role",), ("update",), where)
            other = role(Conditions(rules=(named,)))
            reason = f"update on role where {where}"
            self.assertEqual(
                refusal(person(Role("named", NARROW, Conditions(rules=(named,)))), None, other), reason, where
            )
        denied = person(DEV_ADMIN, Role("no", deny=Conditions(rules=(Rule(("node",), ("list",)),))))
        self.assertEqual(refusal(denied, None, role(Conditions(rules=(Rule(("node",), ("list",)),)))), "list on node")

    def test_options(self) -> None:
        """No option is wider than the editor's own, unless it was there."""
        wide = Options(forward_agent=True, permit_x11_forwarding=True)
        expected = (
            "options.forward_agent: true; options.permit_x11_forwarding: true; options.pin_source_ip: false;"
            " options.client_idle_timeout beyond 600; options.max_sessions beyond 5; and 1 more"
        )
        self.assertEqual(refusal(self.editor, None, role(options=wide)), expected)
        self.assertEqual(refusal(self.editor, role(options=NARROW), role(options=wide)), expected)
        self.assertEqual(refusal(self.editor, role(options=wide), role(options=wide)), "")
        ttl = evolve(NARROW, max_session_ttl_s=9 * 3600.0)
        self.assertEqual(refusal(self.editor, None, role(options=ttl)), "options.max_session_ttl beyond 8h")

    def test_enhanced_recording(self) -> None:
        """What is recorded of the editor, and of those who have the role, goes on being recorded."""
        less = evolve(NARROW, enhanced_recording=("network",))
        reason = "options.enhanced_recording without command"
        self.assertEqual(refusal(self.editor, None, role(options=less)), reason)
        self.assertEqual(refusal(self.editor, role(options=NARROW), role(options=less)), reason)
        self.assertEqual(refusal(self.editor, role(options=less), role(options=less)), "")
        self.assertEqual(refusal(self.editor, role(options=less), role(options=NARROW)), "")
        free = person(evolve(DEV_ADMIN, options=evolve(DEV_ADMIN.options, enhanced_recording=())))
        self.assertEqual(refusal(free, role(options=NARROW), role(options=less)), "")

    def test_kubernetes(self) -> None:
        """Groups and users of Kubernetes are given by who has them, and denials taken back by the same."""
        named = Conditions(kubernetes=Kubernetes(("g",), ("u",)))
        given, denied = role(named), role(deny=named)
        reason = "g of kubernetes_groups; u of kubernetes_users"
        self.assertEqual(refusal(self.editor, None, given), reason)
        self.assertEqual(refusal(self.editor, denied, None), reason)
        self.assertEqual(refusal(self.editor, given, given), "")
        self.assertEqual(refusal(self.editor, given, denied), "")
        mine = evolve(DEV_ADMIN, allow=evolve(DEV_ADMIN.allow, kubernetes=Kubernetes(("g",))))
        self.assertEqual(refusal(person(mine), None, given), "u of kubernetes_users")
        barred = Role("barred", NARROW, deny=Conditions(kubernetes=Kubernetes(("g",))))
        self.assertEqual(refusal(person(mine, barred), None, given), reason)

    def test_who_holds_everything(self) -> None:
        """tctl on the auth host may give anything, the role admin all logins; a plain user nothing."""
        everything = Role("all", allow=Conditions(("x",), LabelSelector({"*": ("*",)}), (Rule(("*",), ("*",)),)))
        check_role(host("Admin"), None, everything, NOW)
        admin = person(*resolve(["admin"]))
        self.assertEqual(refusal(admin, None, evolve(everything, allow=evolve(everything.allow, rules=()))), "")
        self.assertIn("create on *", refusal(admin, None, everything))
        self.assertIn("the login x", refusal(person(Role("none")), None, everything))
        self.assertNotEqual(
            refusal(person(evolve(DEV_ADMIN, expires_at=NOW)), None, role(logins("web", env="test"))), ""
        )

    @given(
        _SELECTORS,
        _SELECTORS,
        st.dictionaries(st.sampled_from(["env", "team"]), st.sampled_from(["", "a", "ab", "b", "aab", "a*"])),
    )
    def test_containment(self, wide: LabelSelector, narrow: LabelSelector, labels: dict[str, str]) -> None:
        """What is said to contain another wants every node that the other wants, whatever the traits."""
        traits = {"x": ("a", "zz")}
        if covers(wide, narrow) and narrow.filled(traits).matches(labels):
            self.assertTrue(wide.filled({}).matches(labels), (wide, narrow, labels))
        if covers(wide.filled(traits), narrow.filled(traits)) and narrow.filled(traits).matches(labels):
            self.assertTrue(wide.filled(traits).matches(labels), (wide, narrow, labels))

    @given(
        _SELECTORS,
        st.sampled_from(["root", "web", "{{internal.logins}}"]),
        _SELECTORS,
        st.sampled_from(["root", "web", "db", "{{internal.logins}}"]),
    )
    def test_nothing_is_gained(self, own: LabelSelector, mine: str, nodes: LabelSelector, login: str) -> None:
        """Who may give a role would gain nothing by having it, unless as somebody whom root may become."""
        editor = person(Role("own", allow=Conditions((mine,), own)), logins=("web",), name="alice@example.com")
        given = Role("given", NARROW, Conditions((login,), nodes))
        if refusal(editor, None, given):
            return
        richer = Caller("bob", "user", (given,), ("root", "web", "db"), {"logins": ("web", "db"), "x": ("b",)})
        as_root = Caller("alice", "user", editor.roles, ("root", "web", "db"), editor.traits)
        for env in ("a", "b", "ab"):
            for wanted in ("root", "web", "db"):
                target = Target({"env": env, "team": "a"}, "n")
                if explain(richer, Login(wanted), target, Facts(), NOW).allowed:
                    ways = [explain(as_root, Login(each), target, Facts(), NOW).allowed for each in ("root", wanted)]
                    self.assertIn(True, ways, (own, mine, nodes, login, env, wanted))


class PersonTests(Decisions):
    def test_roles_and_traits(self) -> None:
        """Roles are given with the traits that fill them; an editor gives those of which they hold everything."""
        editor = person(DEV_ADMIN)
        dev = Role("dev", NARROW, logins("{{internal.logins}}", env="{{external.env}}"))
        ok = Person((dev,), {"logins": ("web",), "env": ("test",)})
        check_person(editor, None, ok, NOW)
        check_person(editor, ok, None, NOW)
        more = evolve(ok, traits={**ok.traits, "env": ("test", "prod")})
        reason = self.assertRaises(NotHeld, check_person, editor, ok, more, NOW)
        self.assertIn("the login web on nodes with env: test, prod.", reason.sentence)
        self.assertRaises(NotHeld, check_person, editor, ok, evolve(ok, roles=(USER_ROLES["admin"],)), NOW)
        check_person(editor, more, evolve(more, traits=ok.traits), NOW)

    def test_conditions(self) -> None:
        """A trait that a condition is about gives, or takes back a denial, as much as a rule does."""
        where = 'contains(user.spec.traits["team"], "sec")'
        may = Role("may", NARROW, Conditions(rules=(Rule(("event",), ("list",), where),)))
        barred = Role("barred", NARROW, deny=Conditions(rules=(Rule(("token",), ("list",), where),)))
        editor, auditor = (
            person(DEV_ADMIN, may),
            Role("auditor", allow=Conditions(rules=(Rule(("event",), ("list",)),))),
        )
        outside, inside = Person((may,)), Person((may,), {"team": ("sec",)})
        reason = self.assertRaises(NotHeld, check_person, editor, outside, inside, NOW)
        self.assertIn(f"list on event where {where}", reason.sentence)
        check_person(editor, inside, inside, NOW)
        check_person(person(DEV_ADMIN, auditor), outside, inside, NOW)
        denied = Person((barred,), {"team": ("sec",)})
        reason = self.assertRaises(NotHeld, check_person, editor, denied, evolve(denied, traits={}), NOW)
        self.assertIn("list on token", reason.sentence)

    def test_built_in_roles(self) -> None:
        """Who has one of them, and may make users, makes others who have it, and none who have more."""
        makes_users = Role("makes-users", allow=Conditions(rules=(_EDITS,)))
        for name in USER_ROLES:
            editor, made = person(makes_users, *resolve([name])), Person(resolve([name]), {"logins": ("root",)})
            check_person(editor, None, made, NOW)
        editor = person(makes_users, *resolve(["access"]))
        self.assertRaises(NotHeld, check_person, editor, None, Person(resolve(["auditor"]), {}), NOW)

    def test_denying_role(self) -> None:
        """To take a role away that denies is to give."""
        barred = Person((Role("no", NARROW, deny=logins(env="prod")),))
        reason = self.assertRaises(NotHeld, check_person, person(DEV_ADMIN), barred, None, NOW)
        self.assertIn(
            "the login root on nodes with env: prod, of which the denial would be taken back", reason.sentence
        )

    def test_taking_over(self) -> None:
        """Who gets somebody's password set gets all that they have: that is as giving it anew."""
        admin = Person(resolve(["admin"]), {"logins": ("alice",)})
        self.assertRaises(NotHeld, check_person, person(DEV_ADMIN), None, admin, NOW)
        check_person(person(*resolve(["admin"])), None, admin, NOW)


class LentTests(Decisions):
    def test_lent_is_not_held(self) -> None:
        """What an access request lends is given to nobody; what it denies is denied all the same."""
        admin = evolve(USER_ROLES["admin"], request="r-1", expires_at=NOW + 60)
        editor = person(DEV_ADMIN, admin)
        dev = role(logins("web", env="test"))
        check_role(editor, None, dev, NOW)
        wide = role(logins("web", env="prod"), options=Options(forward_agent=True))
        reason = self.assertRaises(NotHeld, check_role, editor, None, wide, NOW)
        self.assertIn("the login web on nodes with env: prod; options.forward_agent: true", reason.sentence)
        denying = Role("no", NARROW, deny=logins("web"), request="r-2", expires_at=NOW + 60)
        self.assertRaises(NotHeld, check_role, person(DEV_ADMIN, denying), None, dev, NOW)


class WayInTests(Decisions):
    def test_last(self) -> None:
        """Somebody has to be left who changes roles and users; who never was one may go."""
        admin, user = person(*resolve(["admin"])), person(*resolve(["access"]))
        everybody = Everybody([admin, user])
        check_way_in(everybody, Everybody([admin]), NOW)
        check_way_in(Everybody([user]), Everybody([]), NOW)
        locked = Everybody([admin, user], Locks((Lock("l", role="admin"),)))
        for after in (Everybody([user]), Everybody([]), locked):
            reason = self.assertRaises(LastAdministrator, check_way_in, everybody, after, NOW)
            self.assertIn("That would leave nobody who may change roles and users.", reason.sentence)

    def test_last_of_admin(self) -> None:
        """Who changes users and holds less than admin is no way to admin, as nobody gives what they do not hold."""
        admin, helper = person(*resolve(["admin"])), person(DEV_ADMIN)
        everybody = Everybody([helper, admin])
        reason = self.assertRaises(LastAdministrator, check_way_in, everybody, Everybody([helper]), NOW)
        self.assertEqual(
            reason.sentence,
            "That would leave nobody who may give the role admin: who may still change roles and users does not hold"
            " all of it. Give it to somebody else, or repeat it with --force: tctl on the auth host can still do"
            " everything.",
        )
        check_way_in(everybody, Everybody([admin]), NOW)
        check_way_in(Everybody([helper, helper]), Everybody([helper]), NOW)

    def test_who_administers(self) -> None:
        """Not who is locked or denied, whose role has expired, or who may do it on a condition only."""
        admin = resolve(["admin"])
        denying = Role("no", deny=Conditions(rules=(Rule(("user",), ("update",)),)))
        condition = Role("if", allow=Conditions(rules=(Rule(("role", "user"), ("*",), OWN_RECORDS),)))
        expired = evolve(USER_ROLES["admin"], expires_at=NOW)
        for caller, expected in (
            (person(*admin), True),
            (person(DEV_ADMIN), True),
            (person(*admin, denying), False),
            (person(condition), False),
            (person(expired), False),
        ):
            self.assertEqual(administers(caller, Facts(), NOW), expected)
        self.assertFalse(administers(person(*admin), Facts(locks=Locks((Lock("l", role="admin"),))), NOW))
