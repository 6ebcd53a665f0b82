"""Roles as values and as JSON."""

from __future__ import annotations

import json

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.builtin import SYSTEM_ROLES, USER_ROLES, resolve
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Action, Caller, Facts, Login, Target
from teleport_conch.access.labels import EVERY_NODE, NO_NODE, LabelSelector
from teleport_conch.access.options import Options, combine
from teleport_conch.access.requesting import Asker
from teleport_conch.access.roles import RESERVED_NAMES, Role
from teleport_conch.access.rules import OWN_RECORDS, VERBS, Rule
from teleport_conch.access.trace import explain
from teleport_conch.errors import AccessDenied, BadParameter

LOGGED = 'log("info", "%v reads", user.id)'
DEV: dict[str, object] = {
    "kind": "role",
    "version": "v3",
    "metadata": {"name": "dev", "description": "developers", "expires": 2e9},
    "spec": {
        "options": {
            "max_session_ttl": "8h",
            "forward_agent": True,
            "port_forwarding": False,
            "client_idle_timeout": "never",
            "disconnect_expired_cert": True,
            "cert_format": "oldssh",
            "pin_source_ip": True,
            "max_connections": 2,
            "max_sessions": 10,
        },
        "allow": {
            "logins": ["{{internal.logins}}", "ubuntu"],
            "node_labels": {"env": ["test", "stage"], "region": "us-*"},
            "kubernetes_groups": [],
            "rules": [
                {"resources": ["ssh_session"], "verbs": ["list", "read"], "where": OWN_RECORDS, "actions": [LOGGED]}
            ],
        },
        "deny": {"logins": ["root"], "node_labels": {"env": "prod"}, "rules": [], "request": {}},
    },
}


def role_json(**spec: object) -> dict[str, object]:
    return {"kind": "role", "version": "v3", "metadata": {"name": "dev"}, "spec": spec}


_PIECES = [
    "{{",
    "}}",
    "external.x",
    "internal.logins",
    'external["x y"]',
    "email.local(",
    "regexp.replace(",
    "regexp.match(",
    ")",
    ",",
    '"',
]
_PIECES += [
    "^",
    "$",
    "(",
    "*",
    "[a-z]",
    "{2}",
    "equals(",
    "contains(",
    "user.id",
    "resource.a",
    "&&",
    "!",
    "log(",
    "%v",
    " ",
    "a",
]
_WRITTEN = st.lists(st.sampled_from(_PIECES), max_size=8).map("".join)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WRITTEN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WRITTEN, inner, max_size=3),
    max_leaves=6,
)
_SOME_RULES = st.lists(
    st.fixed_dictionaries(
        {"resources": st.just(["node"]), "verbs": st.just(["list"])},
        optional={"where": _WRITTEN, "actions": st.lists(_WRITTEN, max_size=2)},
    ),
    max_size=2,
)
_SOME_REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "roles": st.lists(_WRITTEN, max_size=3) | _ANYTHING,
        "claims_to_roles": st.lists(
            st.fixed_dictionaries({"claim": _WRITTEN, "value": _WRITTEN, "roles": st.lists(_WRITTEN, max_size=2)}),
            max_size=2,
        ),
        "annotations": st.dictionaries(_WRITTEN, st.lists(_WRITTEN, max_size=2), max_size=2) | _ANYTHING,
    },
)
_SOME_SIDE = st.fixed_dictionaries(
    {},
    optional={
        "request": _SOME_REQUESTS | _ANYTHING,
        "logins": st.lists(_WRITTEN, max_size=3) | _ANYTHING,
        "node_labels": st.dictionaries(_WRITTEN, _WRITTEN | st.lists(_WRITTEN, max_size=2), max_size=2) | _ANYTHING,
        "rules": _SOME_RULES | _ANYTHING,
        "kubernetes_groups": st.lists(_WRITTEN, max_size=2) | _ANYTHING,
    },
)
_TRAITS = {"x": ("a", "^a$", "b@c"), "x y": ("*",), "logins": ("root",)}


class RoleTests(SynchronousTestCase):
    @given(_SOME_SIDE, _SOME_SIDE, st.just({}) | _ANYTHING, st.floats() | st.none() | _WRITTEN)
    def test_anything(self, allow: object, deny: object, options: object, expires: object) -> None:
        """Whatever somebody writes is a role, which decides and can be written again, or is refused in a sentence."""
        metadata = {"name": "dev", "expires": expires}
        value = {**role_json(allow=allow, deny=deny, options=options), "metadata": metadata}
        try:
            role = Role.from_json(value)
        except BadParameter as refusal:
            self.assertTrue(refusal.sentence)
            return
        self.assertEqual(Role.from_json(json.loads(json.dumps(role.to_json()))), role)
        caller = Caller("alice", "user", (role,), ("root", "a"), _TRAITS)
        for action in (Login("a"), Login("root"), Action("list", "node")):
            explain(caller, action, Target({"a": "a", "env": "prod"}, "n"), Facts(), 1.0)
        asker = Asker("alice", (role,), _TRAITS)
        asker.all_of(USER_ROLES, 1.0)
        asker.annotations(1.0)

    def test_from_json(self) -> None:
        """The whole of role v3 that is built."""
        role = Role.from_json(DEV)
        self.assertEqual(
            role,
            Role(
                "dev",
                Options(8 * 3600.0, True, False, False, 0.0, True, 2, 10, "oldssh", True),
                Conditions(
                    ("{{internal.logins}}", "ubuntu"),
                    LabelSelector({"env": ("test", "stage"), "region": ("us-*",)}),
                    (Rule(("ssh_session",), ("list", "read"), OWN_RECORDS, (LOGGED,)),),
                ),
                Conditions(("root",), LabelSelector({"env": ("prod",)})),
                "developers",
                2e9,
            ),
        )

    def test_round_trip(self) -> None:
        """What is written can be read, through JSON text, for ours and the built-in roles."""
        for role in (Role.from_json(DEV), *USER_ROLES.values()):
            self.assertEqual(Role.from_json(json.loads(json.dumps(role.to_json()))), role)

    def test_defaults(self) -> None:
        """Logins without node_labels are good everywhere, an empty selector nowhere, and a deny side has no default."""
        role = Role.from_json(role_json(allow={"logins": ["a"]}, deny={"logins": ["b"]}))
        self.assertEqual((role.allow.node_labels, role.deny.node_labels), (EVERY_NODE, NO_NODE))
        self.assertEqual(role.options, Options(30 * 3600.0, False, True, False, 0.0, False, 0, 0))
        role = Role.from_json(role_json(allow={"logins": ["a"], "node_labels": {}}))
        self.assertEqual(role.allow.node_labels, NO_NODE)
        self.assertEqual(Role.from_json(role_json(allow={})).allow.node_labels, NO_NODE)

    def test_bad(self) -> None:
        """Unknown keys, wrong values and reserved names are refused, each with its sentence."""
        for value, sentence in (
            (
                role_json(
                    allow={
                        "logins": ['{{regexp.replace(external.a, "b", "c")}}'] * 9,
                        "node_labels": {"env": ['{{regexp.replace(external.a, "b", "c")}}'] * 8},
                    }
                ),
                "role.spec.allow has more than 16 times regexp.replace.",
            ),
            (role_json(alow={}), "role.spec.'alow' is not known."),
            (role_json(deny={"login": ["root"]}), "role.spec.deny.'login' is not known."),
            (role_json(options={"forward-agent": True}), "role.spec.options.'forward-agent' is not known."),
            (role_json(options={"max_connections": -1}), "max_connections has to be a whole number, and 0 means"),
            (role_json(options={"max_sessions": float("nan")}), "max_sessions is a number out of range"),
            (role_json(options={"max_session_ttl": "soon"}), "role.spec.options.max_session_ttl: 'soon' is not a dur"),
            (role_json(options={"max_session_ttl": "0"}), "role.spec.options.max_session_ttl has to be at least 1s."),
            (role_json(options={"forward_agent": "yes"}), "role.spec.options.forward_agent has to be true or false."),
            (
                role_json(allow={"logins": ["a", "*"]}),
                "role.spec.allow.logins[1]: '*' cannot be a login of a role; '*' does not stand for all logins.",
            ),
            (
                role_json(deny={"logins": ["{{internal.login}}"]}),
                "role.spec.deny.logins[0], column 11: internal.login is not known; internal.logins is, and any exter",
            ),
            (
                role_json(allow={"node_labels": {"env": ["a", "^($"]}}),
                "role.spec.allow.node_labels.env[1]: the expression ^($ cannot be used: a parenthesis is not closed.",
            ),
            (
                role_json(allow={"node_labels": {"env": "{{email.remote(external.x)}}"}}),
                "role.spec.allow.node_labels.env[0], column 3: email.remote is not known; the functions are",
            ),
            (role_json(allow={"rules": [{"resources": ["node"]}]}), ".rules[0]: a rule names its resources and verbs;"),
            (
                role_json(allow={"rules": [{"resources": ["node"], "verbs": ["fly"]}]}),
                "role.spec.allow.rules[0]: unknown verb 'fly'; the verbs",
            ),
            (
                role_json(deny={"rules": [{"resources": ["node"], "verbs": ["list"], "where": "equals(a, b)"}]}),
                "role.spec.deny.rules[0].where, column 8: a is not known; a text stands in double quotes.",
            ),
            (
                role_json(allow={"rules": [{"resources": ["node"], "verbs": ["list"], "actions": ["", "mail()"]}]}),
                "role.spec.allow.rules[0].actions[0], column 1: log(...) is expected there.",
            ),
            (
                role_json(options={"cert_format": "new"}),
                "role.spec.options.cert_format has to be one of standard, olds",
            ),
            ({**role_json(), "spce": {}}, "role.'spce' is not known."),
            ({**role_json(), "metadata": {"name": "dev", "expiry": 1}}, "role.metadata.'expiry' is not known."),
            ({**role_json(), "version": "v9"}, "role.version has to be v3."),
            (
                {**role_json(), "metadata": {"name": "Node"}},
                "the role name Node is reserved for hosts; choose another.",
            ),
            ({**role_json(), "metadata": {"name": "a b"}}, "'a b' cannot be the name of a role"),
            ({**role_json(), "kind": "user"}, "a resource of kind role is due, and this one says 'user'."),
        ):
            error = self.assertRaises(BadParameter, Role.from_json, value)
            self.assertIn(sentence, error.sentence)

    def test_one_value(self) -> None:
        """Keys of which there is one value here."""
        error = self.assertRaises(BadParameter, Role.from_json, role_json(allow={"namespaces": ["dev"]}))
        self.assertEqual(error.sentence, "role.spec.allow.namespaces has one value here, the usual one; leave it out.")

    def test_kubernetes(self) -> None:
        """Groups and users of Kubernetes are kept on both sides, and what cannot be one is refused."""
        allow = {
            "kubernetes_groups": ["viewers", "{{internal.kubernetes_groups}}"],
            "kubernetes_users": ["x-{{external.y}}"],
        }
        value = role_json(allow=allow, deny={"kubernetes_users": ["root"]})
        role = Role.from_json(value)
        self.assertEqual(role.allow.kubernetes.groups, ("viewers", "{{internal.kubernetes_groups}}"))
        self.assertEqual(list(role.deny.kubernetes.pairs()), [("kubernetes_users", "root")])
        self.assertEqual(Role.from_json(json.loads(json.dumps(role.to_json()))), role)
        for names, sentence in (
            ([""], "role.spec.allow.kubernetes_groups[0]: '' cannot be a name."),
            (["a", "b\x1b[2J"], "role.spec.allow.kubernetes_groups[1]: 'b\\x1b[2J' cannot be a name."),
            (["{{internal.x}}"], "role.spec.allow.kubernetes_groups[0], column 11: internal.x is not known"),
            ("all", "role.spec.allow.kubernetes_groups has to be a list."),
        ):
            error = self.assertRaises(BadParameter, Role.from_json, role_json(allow={"kubernetes_groups": names}))
            self.assertIn(sentence, error.sentence)

    def test_expiry(self) -> None:
        """A role holds up to its expiry, and without one for ever."""
        role = evolve(USER_ROLES["access"], expires_at=100.0)
        self.assertEqual((role.holds_at(99.9), role.holds_at(100.0)), (True, False))
        self.assertTrue(USER_ROLES["access"].holds_at(1e12))


class ConditionTests(SynchronousTestCase):
    def test_read_implies(self) -> None:
        """Who may read may read without secrets, and not the reverse; a star is every verb, and only the known ones."""
        reads, lists = Rule(("node",), ("read",)), Rule(("event",), ("readnosecrets",))
        side = Conditions(rules=(reads, lists, Rule(("token",), ("*",))))
        for verb, kind, expected in (
            ("read", "node", True),
            ("readnosecrets", "node", True),
            ("list", "node", False),
            ("read", "event", False),
            ("readnosecrets", "event", True),
            ("fly", "token", False),
            ("*", "token", False),
            ("read", "role", False),
        ):
            self.assertEqual(bool(side.rules_about(verb, kind)), expected, (verb, kind))
        self.assertTrue(all(side.rules_about(verb, "token") for verb in VERBS))

    def test_about(self) -> None:
        """Rules for every kind come with those for one kind, each once."""
        every, one = Rule(("*",), ("delete",), OWN_RECORDS), Rule(("node", "node"), ("*", "delete"))
        side = Conditions(rules=(every, one))
        self.assertEqual(side.rules_about("delete", "node"), (one, every))
        self.assertEqual(side.rules_about("delete", "token"), (every,))

    def test_logins(self) -> None:
        """Names and templates together."""
        side = Conditions(("{{internal.logins}}", "root", "svc-{{external.app}}"))
        traits = {"logins": ("alice",), "app": ("web",)}
        self.assertEqual(side.logins_of(traits), ("alice", "root", "svc-web"))
        self.assertFalse(side.names_login("web", traits))


class OptionTests(SynchronousTestCase):
    def test_combine(self) -> None:
        """Shortest time, lowest limit that is one, any permission."""
        self.assertEqual(
            combine([Options(100, True, False, False, 0, False, 0, 5), Options(50, False, True, True, 9, True, 3, 4)]),
            Options(50, True, True, True, 9, True, 3, 4),
        )

    def test_certificates(self) -> None:
        """One role with the old format is enough for it, and so is one with a pin."""
        usual = Options()
        self.assertEqual(combine([usual]), usual)
        self.assertEqual(combine([usual, Options(cert_format="oldssh")]).cert_format, "oldssh")
        self.assertTrue(combine([Options(pin_source_ip=True), usual]).pin_source_ip)

    def test_enhanced_recording(self) -> None:
        """What one of the roles wants recorded is recorded, in whatever order; some is where a role says nothing."""
        for written, expected in (
            ({}, ("command", "network")),
            ({"enhanced_recording": []}, ()),
            ({"enhanced_recording": ["network", "disk", "disk"]}, ("disk", "network")),
        ):
            options = Role.from_json(role_json(options=written)).options
            self.assertEqual(options.enhanced_recording, expected)
            self.assertEqual(Role.from_json(role_json(options=options.to_json())).options, options)
        kinds = [Options(enhanced_recording=each) for each in (("disk",), (), ("command", "disk"))]
        self.assertEqual(combine(kinds).enhanced_recording, ("command", "disk"))
        self.assertEqual(combine(reversed(kinds)), combine(kinds))
        error = self.assertRaises(BadParameter, Role.from_json, role_json(options={"enhanced_recording": ["keys"]}))
        self.assertEqual(
            error.sentence, "role.spec.options.enhanced_recording may list command, disk, network, and not 'keys'."
        )

    def test_of_nothing(self) -> None:
        """No roles permit nothing."""
        none = combine([])
        self.assertFalse(none.port_forwarding or none.forward_agent or none.permit_x11_forwarding)


class BuiltInTests(SynchronousTestCase):
    def test_resolve(self) -> None:
        """Names become roles, sorted and each once, by the kind of the certificate."""
        self.assertEqual(resolve(["auditor", "access", "auditor"]), (USER_ROLES["access"], USER_ROLES["auditor"]))
        self.assertEqual(resolve(["Node"], "host"), (SYSTEM_ROLES["Node"],))
        self.assertEqual(resolve([]), ())

    def test_unknown(self) -> None:
        """One unknown name refuses all; a person's Admin is not a host's, nor the reverse."""
        for names, kind, name in (
            (["access", "dba"], "user", "'dba'"),
            (["Admin"], "user", "'Admin'"),
            (["admin"], "host", "'admin'"),
            (["\x1b[2J"], "user", "'\\x1b[2J'"),
        ):
            error = self.assertRaises(AccessDenied, resolve, names, kind)
            self.assertEqual(
                error.sentence,
                f"role {name} does not exist in this cluster; ask for a certificate with one of its roles.",
            )

    def test_system_names_are_reserved(self) -> None:
        """No role from JSON can be called like a system role."""
        self.assertEqual(SYSTEM_ROLES.keys() - set(RESERVED_NAMES), set())
        self.assertTrue(all(role.system for role in SYSTEM_ROLES.values()))
        self.assertFalse(any(role.system for role in USER_ROLES.values()))
