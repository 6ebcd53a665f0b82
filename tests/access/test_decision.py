"""The one decision: logins, forwarding, calls of the API, and the sentences of its refusals."""

from __future__ import annotations

from attrs import evolve

from teleport_conch import errors
from teleport_conch.access.builtin import USER_ROLES, resolve
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import (
    Action,
    AgentForward,
    Caller,
    Facts,
    Grant,
    Login,
    PortForward,
    Target,
)
from teleport_conch.access.labels import EVERY_NODE, LabelSelector
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from tests.access.asking import DEV, NO_ROOT, NOW, OTHER, UUID, Decisions, asked, host, person


class LoginTests(Decisions):
    def test_allowed(self) -> None:
        """Role, label and login agree, and the login is in the certificate."""
        self.assertEqual(self.assert_allowed(person(), Login("root")).role, "access")
        self.assert_allowed(person(DEV), Login("alice"), Target({"env": "dev"}, "d1"))

    def test_sentence(self) -> None:
        """The refusal is Teleport's, word for word."""
        denial = self.assert_denied(person(DEV), Login("root"))
        self.assertEqual(
            denial.sentence,
            "user alice@example.com is not authorized to login as root@web1: access to server denied",
        )
        self.assertIsInstance(denial, errors.AccessDenied)
        self.assertEqual((denial.code, denial.http_status, denial.facts), ("ACCESS_DENIED", 403, {}))

    def test_reference(self) -> None:
        """A reference is told to the person, and is a fact of the error."""
        denial = self.assert_denied(person(DEV), Login("root"), facts=Facts(reference="7f3a"))
        self.assertTrue(denial.sentence.endswith("access to server denied (reference 7f3a)"))
        self.assertEqual(denial.facts, {"reference": "7f3a"})

    def test_inert(self) -> None:
        """Names that a terminal would obey are escaped in the sentence."""
        denial = self.assert_denied(person(DEV), Login("\x1b[2J\n"), Target(name="web\u202e1"))
        self.assertIn("as \\x1b[2J\\n@web\\u202e1:", denial.sentence)

    def test_36_no_roles(self) -> None:
        """Nobody without a role gets anything, and an empty role is as good as none."""
        for roles in ((), (Role("empty"),)):
            caller = Caller("bob", "user", roles, ("root",), {"logins": ("root",)})
            for action in (Login("root"), PortForward("root", "x", 1), AgentForward("root"), Action("list", "node")):
                self.assert_denied(caller, action)

    def test_both_in_one_role(self) -> None:
        """The label of one role and the login of another do not add up."""
        labels = Role("labels", allow=Conditions(("other",), EVERY_NODE))
        logins = Role("logins", allow=Conditions(("root",), LabelSelector({"env": ("dev",)})))
        self.assert_denied(person(labels, logins), Login("root"))

    def test_principal(self) -> None:
        """What the role allows and the certificate does not have is refused."""
        caller = Caller("alice", "user", resolve(["admin"]), ("alice",), {"logins": ("alice",)})
        denial = self.assert_denied(caller, Login("root"))
        self.assertEqual(denial.trace.smallest_change, ("ask for a certificate with the login root",))
        self.assertEqual(denial.trace.outside[0].reason, "the certificate has the logins alice, and not root")

    def test_deny_wins(self) -> None:
        """A deny of the login, or of the node, wins over every allow; of either alone."""
        self.assert_denied(person(*resolve(["access"]), NO_ROOT), Login("root"))
        self.assert_allowed(person(*resolve(["access"]), NO_ROOT), Login("alice"))
        no_prod = Role("no-prod", deny=Conditions(node_labels=LabelSelector({"env": ("prod",)})))
        self.assert_denied(person(*resolve(["access"]), no_prod), Login("alice"))
        self.assert_allowed(person(*resolve(["access"]), no_prod), Login("alice"), Target({"env": "dev"}))
        templated = Role("templated", deny=Conditions(("{{internal.logins}}",)))
        self.assert_denied(person(*resolve(["access"]), templated), Login("alice"))

    def test_expired(self) -> None:
        """An expired role neither allows nor denies."""
        self.assert_denied(person(evolve(USER_ROLES["access"], expires_at=NOW)), Login("root"))
        self.assert_allowed(person(*resolve(["access"]), evolve(NO_ROOT, expires_at=NOW)), Login("root"))

    def test_a_host_logs_in_nowhere(self) -> None:
        """Not even the administrator's identity on the auth host."""
        denial = self.assert_denied(host("Admin"), Login("root"))
        self.assertEqual(
            denial.sentence, f"host {UUID} (Admin) is not authorized to login as root@web1: access to server denied"
        )
        self.assertEqual(denial.trace.outside[0].part, "identity")

    def test_limits(self) -> None:
        """The lowest limit of all roles counts; the facts are what is open already."""
        two = Role("two", Options(max_connections=2, max_sessions=10))
        caller = person(*resolve(["access"]), two)
        self.assertIsInstance(asked(caller, Login("root"), facts=Facts(1, 9)), Grant)
        denial = self.assert_denied(caller, Login("root"), facts=Facts(connections=2))
        self.assertEqual(denial.trace.outside[0].reason, "2 are open, and max_connections is 2")
        self.assertRegex(denial.trace.outside[0].change, "^close one, or raise max_connections of [a-z]+$")
        denial = self.assert_denied(caller, Login("root"), facts=Facts(sessions=10))
        self.assertEqual(denial.trace.outside[0].reason, "10 are open, and max_sessions is 10")

    def test_options_of_a_grant(self) -> None:
        """A grant carries the options of all roles together."""
        short = Role("short", Options(60.0, port_forwarding=False, client_idle_timeout_s=5.0))
        options = self.assert_allowed(person(*resolve(["access"]), short), Login("root")).options
        self.assertEqual(
            (options.max_session_ttl_s, options.client_idle_timeout_s, options.port_forwarding), (60.0, 5.0, True)
        )


class ForwardTests(Decisions):
    def test_needs_the_login(self) -> None:
        """Forwarding is denied by the same check as a shell."""
        for action in (PortForward("nobody", "10.0.0.1", 80), AgentForward("nobody")):
            self.assert_denied(person(), action)

    def test_needs_the_option(self) -> None:
        """One role with the option is enough; none is a refusal that says so."""
        without = evolve(USER_ROLES["access"], options=Options(port_forwarding=False))
        for action, option in (
            (PortForward("root", "10.0.0.1", 80), "port_forwarding"),
            (AgentForward("root"), "forward_agent"),
        ):
            self.assert_allowed(person(), action)
            denial = self.assert_denied(person(without), action)
            self.assertEqual(denial.trace.smallest_change, (f"set options.{option}: true in the role access",))
            with_option = Role("x", Options(forward_agent=True))
            self.assert_allowed(person(without, with_option), action)

    def test_sentences(self) -> None:
        """What was to be forwarded is in the sentence."""
        caller = person(Role("none"))
        self.assertEqual(
            self.assert_denied(caller, PortForward("root", "10.0.0.1", 80)).sentence,
            "user alice@example.com is not authorized to forward a connection as root@web1 to 10.0.0.1:80: "
            "port forwarding denied",
        )
        self.assertEqual(
            self.assert_denied(caller, AgentForward("root")).sentence,
            "user alice@example.com is not authorized to forward an agent as root@web1: agent forwarding denied",
        )


class CallTests(Decisions):
    def test_nobodys_record(self) -> None:
        """A host without a UUID, or a resource without an owner, is no match of the two."""
        nameless = Caller("", "host", resolve(["Node"], "host"))
        self.assert_denied(nameless, Action("update", "presence"), Target())
        self.assert_denied(host("Node"), Action("update", "presence"), Target())

    def test_a_person_is_no_host(self) -> None:
        """A person called like a host's UUID does not own what the host owns, nor a host what a person owns."""
        caller = person(name=UUID)
        self.assert_denied(caller, Action("read", "ssh_session"), Target(owner=UUID, user="bob"))
        self.assert_denied(host("Node"), Action("update", "presence"), Target(owner=OTHER, user=UUID))

    def test_deny(self) -> None:
        """A denied verb is denied whoever allows it; denying readnosecrets denies read as well, and the reverse."""
        for verb in ("read", "readnosecrets"):
            denying = Role("denying", deny=Conditions(rules=(Rule(("node",), (verb,)),)))
            caller = person(*resolve(["admin"]), denying)
            self.assert_denied(caller, Action("read", "node"))
            self.assert_denied(caller, Action("readnosecrets", "node"))
            self.assert_allowed(caller, Action("list", "node"))
        everything = Role("everything", deny=Conditions(rules=(Rule(("*",), ("*",)),)))
        self.assert_denied(person(*resolve(["admin"]), everything), Action("list", "node"))

    def test_sentence(self) -> None:
        """Who, what, and to which one."""
        denial = self.assert_denied(person(), Action("delete", "node"), Target(name="web1"))
        self.assertEqual(denial.sentence, "user alice@example.com is not authorized to delete node web1: access denied")
        denial = self.assert_denied(host("Node"), Action("list", "token"), Target())
        self.assertEqual(denial.sentence, f"host {UUID} (Node) is not authorized to list token: access denied")

    def test_roles_fit_the_kind(self) -> None:
        """A person with a host's role is a mistake of the program, and so is the reverse."""
        with self.assertRaisesRegex(ValueError, "a user cannot have the role Admin"):
            Caller("mallory", "user", resolve(["Admin"], "host"))
        with self.assertRaisesRegex(ValueError, "a host cannot have the role admin"):
            Caller("web1", "host", resolve(["admin"]))
