"""The roles that every cluster has: three for people, and one for each kind of host.

What a host may do is written down here for each kind of resource; nothing is inherited and nothing is implied. A host
changes records of its own only. (It adds events, where auth sees to it that they name the host that sent them, and a
proxy says of nodes whether it reaches them.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import OWN_RECORDS, OWN_SESSIONS, READ_ONLY, READ_WRITE, WITHOUT_SECRETS, Rule
from teleport_conch.errors import AccessDenied

_WRITE = ("create", "update", "delete")

_ADMIN = Role(
    name="admin",
    description="Logs in to every node, and does everything that tctl does except reading private keys.",
    options=Options(forward_agent=True, permit_x11_forwarding=True),
    allow=Conditions(
        logins=("{{internal.logins}}", "root"),
        node_labels=EVERY_NODE,
        rules=(
            Rule(
                ("node", "proxy", "token", "role", "user", "bot", "lock", "access_request", "ssh_session"), READ_WRITE
            ),
            Rule(("auth_server", "cluster_name", "event", "presence"), READ_ONLY),
            Rule(("session",), (*READ_ONLY, "delete")),
            Rule(("cluster_config", "cluster_auth_preference"), (*READ_ONLY, "update")),
            Rule(("cert_authority",), WITHOUT_SECRETS),
            Rule(("user_cert", "host_cert", "emergency_cert"), ("create",)),
            Rule(("watch",), ("read",)),
        ),
    ),
)
_ACCESS = Role(
    name="access",
    description="Logs in to every node, as the logins that the person has.",
    options=Options(forward_agent=True, permit_x11_forwarding=True),
    allow=Conditions(
        logins=("{{internal.logins}}",),
        node_labels=EVERY_NODE,
        rules=(
            Rule(("node", "cluster_name"), READ_ONLY),
            Rule(("ssh_session",), READ_ONLY, where=OWN_RECORDS),
            Rule(("session",), READ_ONLY, where=OWN_SESSIONS),
            Rule(("user_cert",), ("create",), where=OWN_RECORDS),
        ),
    ),
)
_AUDITOR = Role(
    name="auditor",
    description="Reads events, the list of nodes, and sessions, which it plays, too; logs in nowhere.",
    options=Options(port_forwarding=False),
    allow=Conditions(
        rules=(
            Rule(("event", "ssh_session", "session", "node"), READ_ONLY),
            Rule(("user_cert",), ("create",), where=OWN_RECORDS),
        )
    ),
)

EMERGENCY = Role(
    name="break-glass",
    description="What a certificate for emergencies is good for: a shell or a command, as the logins that it has.",
    options=Options(port_forwarding=False),
    allow=Conditions(logins=("{{internal.logins}}",), node_labels=EVERY_NODE),
)
"""Nobody is given this role: who has such a certificate has it, and no other."""

ROBOT = "robot"
"""The role of every robot, beside those that it was given."""
_ROBOT = Role(
    name=ROBOT,
    description="Renews certificates of its own; every robot has it, beside its others, and nobody needs it else.",
    options=Options(port_forwarding=False),
    allow=Conditions(rules=(Rule(("bot_cert",), ("create",), where=OWN_RECORDS),)),
)

_EVERY_SERVICE = (
    Rule(("node", "proxy", "auth_server", "role", "lock", "cluster_config", "cluster_name"), READ_ONLY),
    Rule(("cert_authority",), WITHOUT_SECRETS),
    Rule(("user", "access_request"), ("list",)),
    Rule(("watch",), ("read",)),
    Rule(("event",), ("create",)),
    Rule(("presence", "ssh_session", "semaphore"), _WRITE, where=OWN_RECORDS),
    Rule(("credentials",), ("create", "update"), where=OWN_RECORDS),
)


def _system(name: str, description: str, *rules: Rule) -> Role:
    return Role(
        name=name,
        description=description,
        options=Options(port_forwarding=False),
        allow=Conditions(rules=rules),
        system=True,
    )


def _by_name(*roles: Role) -> Mapping[str, Role]:
    return {role.name: role for role in roles}


USER_ROLES = _by_name(_ADMIN, _ACCESS, _AUDITOR, _ROBOT)
SYSTEM_ROLES = _by_name(
    _system("Admin", "tctl on the auth host: everything but a shell.", Rule(("*",), ("*",))),
    _system(
        "Auth",
        "An auth server.",
        Rule(("auth_server",), READ_ONLY),
        Rule(("auth_server",), _WRITE, where=OWN_RECORDS),
    ),
    _system(
        "Proxy",
        "A proxy: what a node may, to log people in, and to say which nodes it cannot reach.",
        *_EVERY_SERVICE,
        Rule(("user_login",), ("create",)),
        Rule(("reachability",), ("create", "update")),
        Rule(("cluster_auth_preference",), READ_ONLY),
    ),
    _system(
        "Node",
        "A node: reads what it needs, writes records of its own, and hands in recordings of its sessions.",
        *_EVERY_SERVICE,
        Rule(("session",), ("create",), where=OWN_RECORDS),
    ),
    _system("Nop", "Nothing."),
)


def resolve(names: Iterable[str], kind: str = "user", known: Mapping[str, Role] = USER_ROLES) -> tuple[Role, ...]:
    """The roles called ``names``, sorted by name and each once.

    :param kind: ``user`` or ``host``, by the authority that signed the caller's certificate: the role Admin in a
        user's certificate is not the system role of that name.
    :param known: the roles of users by name, built-in ones included. Those of hosts are all built in.
    :raises AccessDenied: one of the names is unknown. It might deny something, so the others do not count either.
    """
    known = {"user": known, "host": SYSTEM_ROLES}[kind]
    wanted = sorted(set(names))
    for name in wanted:
        if name not in known:
            raise AccessDenied(
                f"role {name[:64]!a} does not exist in this cluster; ask for a certificate with one of its roles."
            )
    return tuple(known[name] for name in wanted)
