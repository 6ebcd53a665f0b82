"""What speaks against a change of a role, a user, a lock, a token or a certificate, beside what is wrong in itself.

Nobody gives what they do not hold (an event says who tried), a role that somebody has is not removed, and the last way
to administer the cluster stays open, unless the caller forces it (``?force=1``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from attrs import define, evolve, frozen

from teleport_conch.access.decision import Action, Caller
from teleport_conch.access.escalation import (
    Everybody,
    Person,
    check_letting_in,
    check_outlasting,
    check_person,
    check_role,
    check_way_in,
)
from teleport_conch.access.locks import Locks
from teleport_conch.access.reference import new_reference
from teleport_conch.access.roles import Role
from teleport_conch.access.templates import Traits
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.routes.calls import Call
from teleport_conch.auth.routes.resource_routes import Change
from teleport_conch.auth.state.shelf import Named
from teleport_conch.certs import names
from teleport_conch.errors import AccessDenied, InUse, NotHeld, PrincipalTaken
from teleport_conch.resources.access_request import AccessRequest
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import User

_FOREVER = float("inf")
MAX_HOLDERS_NAMED = 5
"""Users that a refusal names."""

_Value = TypeVar("_Value", bound=Named)


@define(eq=False)
class Guards:
    """Looks at changes before they are made."""

    _cluster: Cluster
    _emit: Emit

    def role(self, change: Change[Role]) -> None:
        """:raises InUse, NotHeld, LastAdministrator: in this order."""
        if change.after is None:
            self._check_not_used(change.name)
        try:
            check_role(change.call.known.caller, change.before, change.after, change.call.now)
        except NotHeld as reason:
            self._tell(change.call, "role", reason)
            raise
        self._check_way_in(change.call, evolve(self._state(), roles=_after(self._cluster.roles, change)))

    def user(self, change: Change[User]) -> None:
        """:raises NotHeld, LastAdministrator: in this order."""
        before, after = change.before, change.after
        prolonged = before is not None and after is not None and _end(after) > _end(before)
        self.gives(change.call, None if prolonged else before, after)
        users = _after(self._cluster.users.shelf.values, change)
        self._check_way_in(change.call, evolve(self._state(), users=users))

    def gives(self, call: Call, before: User | None, after: User | None) -> None:
        """
        :param before: None also where the caller would get a way to log in as the user.
        :raises NotHeld: the caller does not hold what ``after`` has and ``before`` has not, or what access requests
            lend to the one and not to the other.
        """
        self._check_given(call, "user", self._person(before), self._person(after))
        if after is not None and (lent := self._cluster.directory.lent_now(after.name, call.now)):
            self._check_given(call, "user", self._person(before, lent), self._person(after, lent))

    def signs(self, call: Call, kind: str, roles: Iterable[Role], traits: Traits, name: str = "") -> None:
        """
        :param kind: of the certificate, which somebody with these roles and traits will have.
        :param name: of a person who may have in a further one what access requests lend.
        :raises NotHeld: the caller does not hold what it would be good for.
        """
        known, user = tuple(roles), self._cluster.users.usable(name)
        self._check_given(call, kind, None, Person(known, traits))
        if user is not None and (lent := self._cluster.directory.lent_now(name, call.now)):
            self._check_given(call, kind, None, Person((*known, *lent), user.traits))

    def names_host(self, call: Call, principals: Iterable[str]) -> None:
        """
        :param principals: of a certificate for a host that is none of the cluster's, the first one its name.
        :raises PrincipalTaken: the caller is not ``tctl`` on the auth host, and a host of the cluster has one of them.
        """
        if call.known.role == "Admin":
            return
        named = tuple(map(names.host_name, principals))
        try:
            self._cluster.held_names.check((*named, *(f"{name}.{self._cluster.name}" for name in named[:1])))
        except PrincipalTaken as reason:
            self._tell(call, "host_cert", reason)
            raise

    def lets_in(self, call: Call, host_roles: Iterable[str]) -> None:
        """
        :param host_roles: those of a token, as certificates have them.
        :raises NotHeld: the caller lets in nodes, and no proxies and auth servers.
        """
        try:
            check_letting_in(call.known.caller, host_roles, call.now)
        except NotHeld as reason:
            self._tell(call, "token", reason)
            raise

    def outlasts(self, call: Call, verb: str, kind: str, ttl_s: float) -> None:
        """
        :param ttl_s: for how long a token, or a certificate of a host, would be good.
        :raises NotHeld: that is longer than an access request lends the right to make it.
        """
        try:
            check_outlasting(call.known.caller, Action(verb, kind), call.now + ttl_s, call.now)
        except NotHeld as reason:
            self._tell(call, kind, reason)
            raise

    def lends(self, call: Call, request: AccessRequest) -> None:
        """
        :param request: as it would be approved.
        :raises AccessDenied: it is the caller's own. :raises NotHeld: it lends what the caller does not hold.
        """
        if call.known.identity.kind == "user" and call.known.caller.name == request.user:
            own = AccessDenied("Nobody approves what they asked for themselves: ask somebody else who may.")
            self._tell(call, "access_request", own)
            raise own
        before = self._person(self._cluster.users.get(request.user))
        assert before is not None
        known = self._cluster.roles
        after = evolve(before, roles=(*before.roles, *(known[role] for role in request.roles)))
        self._check_given(call, "access_request", before, after)

    def _check_given(self, call: Call, kind: str, before: Person | None, after: Person | None) -> None:
        try:
            check_person(call.known.caller, before, after, call.now)
        except NotHeld as reason:
            self._tell(call, kind, reason)
            raise

    def lock(self, change: Change[Lock]) -> None:
        """:raises LastAdministrator: it would shut out whoever may still change roles and users."""
        locks = _after(self._cluster.locks.shelf.values, change)
        self._check_way_in(change.call, evolve(self._state(), locks=Locks(tuple(locks.values()))))

    def _person(self, user: User | None, lent: Iterable[Role] = ()) -> Person | None:
        if user is None:
            return None
        known = self._cluster.roles
        return Person((*(known[role] for role in user.roles if role in known), *lent), user.traits)

    def _check_not_used(self, name: str) -> None:
        users = self._cluster.users.shelf.values.values()
        holders = sorted(user.name for user in users if name in user.roles)
        if holders:
            more = f" and {len(holders) - MAX_HOLDERS_NAMED} more" if len(holders) > MAX_HOLDERS_NAMED else ""
            named = ", ".join(holders[:MAX_HOLDERS_NAMED])
            raise InUse(f"The role {name!a} is still in use by {named}{more}; take it from them first.")

    def _check_way_in(self, call: Call, after: _State) -> None:
        if call.query("force") != "1":
            before = self._state()
            for at in (call.now, _FOREVER):  # an end that is set to the last way in closes it, too
                check_way_in(before.everybody(at), after.everybody(at), at)

    def _state(self) -> _State:
        cluster = self._cluster
        return _State(cluster.roles, cluster.users.shelf.values, cluster.locks.every)

    def _tell(self, call: Call, kind: str, reason: AccessDenied | PrincipalTaken) -> None:
        sentence, caller = reason.sentence, call.known.caller
        reason.refer_to(new_reference(os.urandom))
        self._emit(
            "api.denied",
            {
                "verb": "update",
                "kind": kind,
                "error": sentence,
                "reference": reason.facts["reference"],
                "trace": [sentence],
                "roles": call.known.identity.roles,
                "user": caller.name,
                "addr.remote": call.address,
            },
        )


@frozen
class _State:
    """What says who administers."""

    roles: Mapping[str, Role]
    users: Mapping[str, User]
    locks: Locks

    def everybody(self, now: float) -> Everybody:
        return Everybody(self._people(now), self.locks)

    def _people(self, now: float) -> Iterator[Caller]:
        """Those who have a role that may change users, since a cluster has many people and few of them."""
        powerful = {name for name, role in self.roles.items() if role.allow.rules_about("update", "user")}
        for user in self.users.values():
            if user.in_force_at(now) and not powerful.isdisjoint(user.roles):
                held = tuple(self.roles[role] for role in user.roles if role in self.roles)
                yield Caller(user.name, "user", held, traits=user.traits)


def _end(user: User) -> float:
    return _FOREVER if user.expires_at is None else user.expires_at


def _after(values: Mapping[str, _Value], change: Change[_Value]) -> Mapping[str, _Value]:
    """What there would be. Who makes what is there already is refused for that, and changes nothing."""
    if change.before is None and change.name in values:
        return values
    after = {name: value for name, value in values.items() if name != change.name}
    return after if change.after is None else {**after, change.name: change.after}
