"""The roles about recordings that ``docs/access.rst`` shows do what it says of them."""

from __future__ import annotations

import re
from textwrap import dedent

import yaml

from teleport_conch.access.builtin import resolve
from teleport_conch.access.decision import Action, Caller, Target
from teleport_conch.access.roles import Role
from teleport_conch.resources.recording import KIND, Recording
from tests.access.asking import Decisions, person
from tests.access.test_documentation import PAGE

LIST, READ, DELETE = (Action(verb, KIND) for verb in ("list", "read", "delete"))


def roles() -> dict[str, Role]:
    """Those of the section, by name."""
    section = PAGE.read_text("utf-8").partition("Who may play recordings\n")[2].partition("Why not\n")[0]
    blocks = re.findall(r"::\n\n((?:    .*\n)+)", section)
    return {role.name: role for role in (Role.from_json(yaml.safe_load(dedent(block))) for block in blocks)}


def recording(user: str, login: str = "root") -> Target:
    found = Recording("0b5c9f1e", user, login, "3c5e9d60", "web1", 0.0, participants=(user,))
    return Target(
        name=found.id, owner=found.server_id, user=user, participants=found.participants, resource=found.to_json()
    )


class RecordingRoleTests(Decisions):
    def who(self, *names: str) -> Caller:
        known = roles()
        return person(*(known[name] if name in known else resolve([name])[0] for name in names), name="alice")

    def test_own(self) -> None:
        """One's own, and nobody else's."""
        for name in ("own-recordings", "access"):
            alice = self.who(name)
            for action in (LIST, READ):
                self.assert_allowed(alice, action, recording("alice"))
                self.assert_denied(alice, action, recording("bob"))
            self.assert_denied(alice, DELETE, recording("alice"))

    def test_list_only(self) -> None:
        """All are listed, those of the robot played."""
        clerk = self.who("session-clerk")
        self.assert_allowed(clerk, LIST, recording("bob"))
        self.assert_denied(clerk, READ, recording("bob"))
        self.assert_denied(clerk, READ, recording("alice"))
        self.assert_allowed(clerk, READ, recording("ci"))

    def test_T83_denied(self) -> None:
        """A denial takes what another role allows."""
        auditor, limited = self.who("auditor"), self.who("auditor", "not-the-vault")
        for action in (LIST, READ):
            self.assert_allowed(auditor, action, recording("bob", "vault"))
            self.assert_denied(limited, action, recording("bob", "vault"))
            self.assert_allowed(limited, action, recording("bob"))
