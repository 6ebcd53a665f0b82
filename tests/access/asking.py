"""What the tests of decisions have in common: people, hosts, a node, and a way to ask."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.builtin import resolve
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Caller, Denial, Facts, Grant, Target, decide
from teleport_conch.access.labels import LabelSelector
from teleport_conch.access.question import AnyAction
from teleport_conch.access.roles import Role

NOW = 1000.0
UUID = "0f3b0a5c-2f5c-4c5e-9d0b-111111111111"
OTHER = "0f3b0a5c-2f5c-4c5e-9d0b-222222222222"
WEB1 = Target({"env": "prod"}, "web1")
DEV = Role("dev", allow=Conditions(("{{internal.logins}}",), LabelSelector({"env": ("dev", "test")})))
NO_ROOT = Role("no-root", deny=Conditions(("root",)))


def person(*roles: Role, logins: tuple[str, ...] = ("alice", "root"), name: str = "alice@example.com") -> Caller:
    return Caller(name, "user", roles or resolve(["access"]), logins, {"logins": logins})


def host(role: str, uuid: str = UUID) -> Caller:
    return Caller("web1", "host", resolve([role], "host"), host_uuid=uuid)


def asked(caller: Caller, action: AnyAction, target: Target = WEB1, facts: Facts | None = None) -> Grant | Denial:
    try:
        return decide(caller, action, target, facts or Facts(), NOW)
    except Denial as denial:
        return denial


class Decisions(SynchronousTestCase):
    def assert_allowed(self, caller: Caller, action: AnyAction, target: Target = WEB1) -> Grant:
        answer = asked(caller, action, target)
        assert isinstance(answer, Grant), answer
        return answer

    def assert_denied(
        self, caller: Caller, action: AnyAction, target: Target = WEB1, facts: Facts | None = None
    ) -> Denial:
        answer = asked(caller, action, target, facts)
        assert isinstance(answer, Denial), answer
        return answer
