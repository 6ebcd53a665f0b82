"""What each built-in role may do, written out, and compared with every verb on every kind."""

from __future__ import annotations

from typing import Literal

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.builtin import SYSTEM_ROLES, USER_ROLES, resolve
from teleport_conch.access.decision import Action, Caller, Grant, Target
from teleport_conch.access.rules import VERBS
from tests.access.asking import OTHER, UUID, asked

KINDS = (
    "node",
    "proxy",
    "auth_server",
    "token",
    "cert_authority",
    "cluster_config",
    "cluster_name",
    "ssh_session",
    "session",
    "event",
    "presence",
    "user_cert",
    "host_cert",
    "emergency_cert",
    "credentials",
    "reachability",
    "watch",
    "role",
    "user",
    "user_login",
    "bot",
    "bot_cert",
    "lock",
    "semaphore",
    "cluster_auth_preference",
)
RO, NO_SECRETS = {"list", "read", "readnosecrets"}, {"list", "readnosecrets"}
RW = RO | {"create", "update", "delete"}
WRITE = {"create", "update", "delete"}
SERVICE = {
    "node": RO,
    "proxy": RO,
    "auth_server": RO,
    "role": RO,
    "cluster_config": RO,
    "cluster_name": RO,
    "cert_authority": NO_SECRETS,
    "watch": {"read", "readnosecrets"},
    "event": {"create"},
    "user": {"list"},
    "lock": RO,
}
SERVICE_OWN = {"presence": WRITE, "ssh_session": WRITE, "semaphore": WRITE, "credentials": {"create", "update"}}
PROXY = {"reachability": {"create", "update"}, "cluster_auth_preference": RO, "user_login": {"create"}}
#: What each built-in role may do: to any resource, and beyond that to its own.
MATRIX: dict[tuple[Literal["user", "host"], str], tuple[dict[str, set[str]], dict[str, set[str]]]] = {
    ("host", "Node"): (SERVICE, {**SERVICE_OWN, "session": {"create"}}),
    ("host", "Proxy"): (
        {**SERVICE, **PROXY},
        SERVICE_OWN,
    ),
    ("host", "Auth"): ({"auth_server": RO}, {"auth_server": WRITE}),
    ("host", "Admin"): ({kind: set(VERBS) for kind in KINDS}, {}),
    ("host", "Nop"): ({}, {}),
    ("user", "access"): ({"node": RO, "cluster_name": RO}, {"ssh_session": RO, "session": RO, "user_cert": {"create"}}),
    ("user", "robot"): ({}, {"bot_cert": {"create"}}),
    ("user", "auditor"): ({"node": RO, "ssh_session": RO, "session": RO, "event": RO}, {"user_cert": {"create"}}),
    ("user", "admin"): (
        {
            "node": RW,
            "proxy": RW,
            "token": RW,
            "role": RW,
            "user": RW,
            "bot": RW,
            "lock": RW,
            "ssh_session": RW,
            "session": RO | {"delete"},
            "auth_server": RO,
            "cluster_name": RO,
            "cluster_config": RO | {"update"},
            "cluster_auth_preference": RO | {"update"},
            "event": RO,
            "presence": RO,
            "cert_authority": NO_SECRETS,
            "user_cert": {"create"},
            "host_cert": {"create"},
            "emergency_cert": {"create"},
            "watch": {"read", "readnosecrets"},
        },
        {},
    ),
}


class MatrixTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """The table has every built-in role."""
        roles = {("user", name) for name in USER_ROLES} | {("host", name) for name in SYSTEM_ROLES}
        self.assertEqual(MATRIX.keys(), roles)

    def test_matrix(self) -> None:
        """Every verb on every kind for every built-in role: exactly what the table says, own and others'."""
        for (kind, role), (anybodys, own) in MATRIX.items():
            caller = Caller("alice", kind, resolve([role], kind), host_uuid=UUID if kind == "host" else "")
            mine = Target(owner=UUID, user="alice", participants=("alice",))
            theirs = Target(owner=OTHER, user="bob", participants=("bob",))
            for resource in (*KINDS, "no_such_kind"):
                for verb in (*VERBS, "rotate"):
                    free = verb in anybodys.get(resource, ()) or (role == "Admin" and verb in VERBS)
                    answers = [isinstance(asked(caller, Action(verb, resource), at), Grant) for at in (theirs, mine)]
                    expected = [free, free or verb in own.get(resource, ())]
                    self.assertEqual(answers, expected, (role, verb, resource))
