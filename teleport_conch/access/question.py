"""What is asked of a decision: who wants to do what, to what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Literal

from attrs import Factory, field, frozen

from teleport_conch.access.aged import NOT_AGED, Aged
from teleport_conch.access.binding import RoleForLogin
from teleport_conch.access.locks import NO_LOCKS, Locks
from teleport_conch.access.roles import Role
from teleport_conch.access.scene import Scene
from teleport_conch.access.shown import shown
from teleport_conch.resources.lock import Lock


def _by_name(roles: Iterable[Role]) -> tuple[Role, ...]:
    return tuple(sorted(roles, key=attrgetter("name")))


def _called(caller: Caller) -> str:
    if caller.kind == "user":
        return f"user {shown(caller.name)}" + (f"@{shown(caller.cluster)}" if caller.cluster else "")
    return f"host {shown(caller.host_uuid or caller.name)} ({', '.join(role.name for role in caller.roles)})"


def _lent(caller: Caller) -> Mapping[str, str]:
    return {role.name: role.request for role in caller.roles if role.request}


def _lent_until(caller: Caller) -> float:
    return min((role.expires_at for role in caller.roles if role.request and role.expires_at), default=float("inf"))


def _expiring(caller: Caller) -> bool:
    return any(role.expires_at is not None for role in caller.roles)


@frozen
class Caller:
    """Who asks: a person or a host, as its certificate says.

    :param name: the user's name, or the host's.
    :param kind: by the authority that signed the certificate, before any field of it was read.
    :param roles: kept sorted by name, so that their order never matters. Names are unique in a cluster.
    :param logins: the principals of a user's certificate; nobody logs in as anything else, whatever the roles say.
    :param host_uuid: a host's; its records carry it.
    :param cluster: a person's, for sentences that are read outside of it.
    :param aged: what the certificate says that is not so any more, and what has become so since.
    :ivar expiring: whether one of the roles is not for ever.
    :ivar lent: by the names of the roles that access requests lend, the ids of these.
    :ivar lent_until: when the first of them is over, POSIX seconds; the caller is another from then on.
    :raises ValueError: a person with a host's role, or the reverse, which is a mistake in the program.
    """

    name: str
    kind: Literal["user", "host"]
    roles: tuple[Role, ...] = field(converter=_by_name)
    logins: tuple[str, ...] = ()
    traits: Mapping[str, tuple[str, ...]] = field(factory=dict)
    host_uuid: str = ""
    cluster: str = ""
    aged: Aged = NOT_AGED
    _by_login: dict[str, tuple[RoleForLogin, ...]] = field(init=False, factory=dict, eq=False, repr=False)

    _called: str = field(init=False, eq=False, repr=False, default=Factory(_called, takes_self=True))
    expiring: bool = field(init=False, eq=False, repr=False, default=Factory(_expiring, takes_self=True))
    lent: Mapping[str, str] = field(init=False, eq=False, repr=False, default=Factory(_lent, takes_self=True))
    lent_until: float = field(init=False, eq=False, repr=False, default=Factory(_lent_until, takes_self=True))

    def __attrs_post_init__(self) -> None:
        for role in self.roles:
            if role.system != (self.kind == "host"):
                raise ValueError(f"a {self.kind} cannot have the role {role.name}")

    def for_login(self, login: str) -> tuple[RoleForLogin, ...]:
        """The roles as they speak of a login; kept for :attr:`logins`, since decisions go on asking for them."""
        found = self._by_login.get(login)
        if found is None:
            found = tuple(RoleForLogin.of(role, login, self.traits) for role in self.roles)
            if login in self.logins:
                self._by_login[login] = found
        return found

    @property
    def id(self) -> str:
        """A host's UUID, a person's name: what the owner of a resource is compared with."""
        return self.host_uuid if self.kind == "host" else self.name

    def to_json(self) -> dict[str, object]:
        """Who asks, as conditions see it."""
        return {
            "kind": self.kind,
            "id": self.id,
            "metadata": {"name": self.name},
            "spec": {"roles": tuple(role.name for role in self.roles), "traits": self.traits},
        }

    def __str__(self) -> str:
        return self._called


@frozen
class Target:
    """What the action is done to.

    :param labels: of a node, static ones and the results of commands.
    :param name: of a node or resource, as people call it; empty for all of a kind.
    :param owner: the UUID of the host that the resource belongs to, a node's own; empty where it belongs to none.
    :param user: the person that the resource belongs to (whose session it is).
    :param participants: the people in a session.
    :param resource: its JSON, for the conditions of rules; None where it is not known yet, or there is none.
    """

    labels: Mapping[str, str] = field(factory=dict)
    name: str = ""
    owner: str = ""
    user: str = ""
    participants: tuple[str, ...] = ()
    resource: Mapping[str, object] | None = None

    def scene(self, caller: Caller) -> Scene:
        """What the conditions of rules look at."""
        owner = self.owner if caller.kind == "host" else self.user
        return Scene(caller.to_json(), self.resource, owner, self.participants)


@frozen
class Action:
    """A call of the API: one of the verbs of :mod:`teleport_conch.access.conditions` on a kind of resource."""

    verb: str
    kind: str

    def sentence(self, target: Target) -> str:
        return f"{self.verb} {self.kind} {shown(target.name)}".rstrip()

    @property
    def refusal(self) -> str:
        return "access denied"


@frozen
class Login:
    """A shell, a command or a file transfer on a node, as the account ``login``."""

    login: str

    def sentence(self, target: Target) -> str:
        return f"login as {shown(self.login)}@{shown(target.name)}"

    @property
    def refusal(self) -> str:
        return "access to server denied"


@frozen
class PortForward:
    """A connection from a node, opened for ``login``, to ``host`` and ``port``."""

    login: str
    host: str
    port: int

    def sentence(self, target: Target) -> str:
        where = f"{shown(self.login)}@{shown(target.name)}"
        return f"forward a connection as {where} to {shown(self.host)}:{self.port}"

    @property
    def refusal(self) -> str:
        return "port forwarding denied"


@frozen
class AgentForward:
    """The use of the client's SSH agent on a node, by what runs there as ``login``."""

    login: str

    def sentence(self, target: Target) -> str:
        return f"forward an agent as {shown(self.login)}@{shown(target.name)}"

    @property
    def refusal(self) -> str:
        return "agent forwarding denied"


@frozen
class X11Forward:
    """The windows of what runs on a node as ``login``, shown on the client's display."""

    login: str

    def sentence(self, target: Target) -> str:
        return f"forward X11 as {shown(self.login)}@{shown(target.name)}"

    @property
    def refusal(self) -> str:
        return "X11 forwarding denied"


OnNode = Login | PortForward | AgentForward | X11Forward
AnyAction = Action | OnNode


@frozen
class Facts:
    """What is true at the moment and is in no certificate.

    :param connections: how many the user has open to nodes, this one not counted.
    :param sessions: how many are open in this connection, this one not counted.
    :param reference: a short name under which the trace of a refusal will be kept; it is told to the person.
    :param locks: every lock of the cluster.
    """

    connections: int = 0
    sessions: int = 0
    reference: str = ""
    locks: Locks = NO_LOCKS

    def shut_out(self, caller: Caller, action: AnyAction, target: Target, now: float) -> tuple[Lock, ...]:
        """The locks in force that refuse the action, sorted by name; of calls of the API those without login and node.

        A lock is for people. No host is ever locked, so that nobody locks auth out, or who would undo the lock.
        """
        if not self.locks or caller.kind != "user":
            return ()
        roles = [role.name for role in caller.roles]
        if isinstance(action, Action):
            return self.locks.against(caller.name, roles, "", (), now)
        return self.locks.against(caller.name, roles, action.login, (target.owner, target.name), now)


def denied_verbs(verb: str) -> tuple[str, ...]:
    """The verbs whose denial denies ``verb``: who may not read without secrets may not read with them either."""
    return (verb, "readnosecrets") if verb == "read" else (verb,)


OPTIONS = {PortForward: "port_forwarding", AgentForward: "forward_agent", X11Forward: "permit_x11_forwarding"}
"""The option that an action needs beside the login; any role of the caller may grant it."""
