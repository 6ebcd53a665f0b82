"""Nobody grants what they do not hold, and nobody closes the last way to administer the cluster without meaning to.

Whoever may edit roles or users could otherwise give themselves anything. A change is compared with what was there
before; what it adds, and every denial that it takes back, has to be held by the editor. ``root`` on a node holds every
login there. What an access request lends is not held: it would last in the hands of others. ``tctl`` on the auth host
holds everything: its account owns the authorities' keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum

from attrs import evolve, field, frozen

from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.holding import SUPERUSER, Call, Holding, OnNodes, covers, described
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.locks import NO_LOCKS, Locks
from teleport_conch.access.options import Options
from teleport_conch.access.question import Action, Caller, Facts, Target
from teleport_conch.access.roles import Role
from teleport_conch.access.shown import shown
from teleport_conch.access.templates import Traits
from teleport_conch.access.trace import explain, live_roles
from teleport_conch.durations import format_duration
from teleport_conch.errors import LastAdministrator, NotHeld

MAX_NAMED = 5
"""Things that a refusal names."""

_PERMISSIONS = ("forward_agent", "port_forwarding", "permit_x11_forwarding")
_RESTRICTIONS = ("disconnect_expired_cert", "pin_source_ip")
_LIMITS = ("client_idle_timeout_s", "max_connections", "max_sessions")
_ADMINISTRATION = tuple(Action(verb, kind) for kind in ("role", "user") for verb in ("create", "update"))


@frozen
class Person:
    """Somebody as a user resource has them: roles, by value, and traits."""

    roles: tuple[Role, ...] = ()
    traits: Traits = field(factory=dict)


class Way(IntEnum):
    """How far the people of a cluster can administer it, without ``tctl`` on the auth host."""

    NONE = 0
    SOME = 1
    """Somebody may change roles and users, and nobody give the role ``admin``, which takes all that it gives."""
    ADMIN = 2


@frozen
class Everybody:
    """The people of a cluster, and its locks."""

    people: Iterable[Caller]
    locks: Locks = NO_LOCKS

    def ways_at(self, now: float) -> Way:
        """The best way in that somebody has."""
        facts, best = Facts(locks=self.locks), Way.NONE
        for each in self.people:
            if administers(each, facts, now):
                best = Way.SOME
                if not _lacks_of_admin(each, now):
                    return Way.ADMIN
        return best


def check_role(editor: Caller, before: Role | None, after: Role | None, now: float) -> None:
    """
    :param before: None for a new role.
    :param after: None for a role that is removed.
    :param now: POSIX seconds.
    :raises NotHeld: the change gives whoever has the role what the editor does not have.
    """
    lasting = before is not None and before.holds_at(now) and (after is None or _ends(after) <= _ends(before))
    former = before if lasting or after is None else None
    given = Holding() if after is None else Holding.of_role(after)
    _check(editor, Holding() if former is None else Holding.of_role(former), given, now)


def check_person(editor: Caller, before: Person | None, after: Person | None, now: float) -> None:
    """
    :param before: None for a new user, and for whoever could log in as the user after the change, but not before: who
        sets another's password holds all that the other has.
    :param after: None for a user who is removed.
    :raises NotHeld: the change gives the user what the editor does not have.
    """
    had, has = _of(before or Person(), now), _of(after or Person(), now)
    if before is not None and after is not None and _is_another_to_conditions(before, after):
        had = evolve(had, calls=frozenset(call for call in had.calls if not call.depends_on_person))
        has = evolve(has, denied_calls=frozenset(call for call in has.denied_calls if not call.depends_on_person))
    _check(editor, had, has, now)


def _is_another_to_conditions(before: Person, after: Person) -> bool:
    """Whether conditions about the roles or traits of who asks may hold now that did not before, or the reverse."""
    roles = [{role.name for role in person.roles} for person in (before, after)]
    return roles[0] != roles[1] or dict(before.traits) != dict(after.traits)


def check_way_in(before: Everybody, after: Everybody, now: float) -> None:
    """
    :param after: everybody as the change would have them.
    :raises LastAdministrator: nobody would be left who may change roles and users, or who may give the role ``admin``.
    """
    left = after.ways_at(now)
    if left is Way.ADMIN or left >= before.ways_at(now):
        return
    if left is Way.NONE:
        raise LastAdministrator(
            "That would leave nobody who may change roles and users. Give somebody else a role that may, such as admin,"
            " or repeat it with --force: tctl on the auth host can still do everything."
        )
    raise LastAdministrator(
        "That would leave nobody who may give the role admin: who may still change roles and users does not hold all of"
        " it. Give it to somebody else, or repeat it with --force: tctl on the auth host can still do everything."
    )


def check_letting_in(maker: Caller, host_roles: Iterable[str], now: float) -> None:
    """
    :param host_roles: those that a token lets hosts in with.
    :raises NotHeld: one of them is a proxy's or an auth server's, and the maker does not hold all that ``admin``
        gives: a proxy hears the passwords of everybody, whereas a node has nothing but itself.
    """
    powerful = [role for role in host_roles if role != "Node"]
    if not powerful or _holds_everything(maker):
        return
    lacking = _lacks_of_admin(maker, now)
    if lacking:
        raise NotHeld(
            f"Only who holds all that the role admin gives lets hosts in with the role {powerful[0]}, and {maker} does"
            f" not hold: {_named(lacking)}."
        )


def check_outlasting(maker: Caller, action: Action, until: float, now: float) -> None:
    """
    :param action: that makes something which is used later, maybe by others: a token, a certificate of a host.
    :param until: when that ends, POSIX seconds.
    :raises NotHeld: the maker may do it by an access request only, which is over before.
    """
    if until <= maker.lent_until:
        return
    lasting = evolve(maker, roles=tuple(role for role in maker.roles if not role.request))
    if not explain(lasting, action, Target(), Facts(), now).allowed:
        left = format_duration(float(max(0, int(maker.lent_until - now))))
        raise NotHeld(
            f"{maker} has {action.verb} on {action.kind} by an access request, which is over in {left}: ask for"
            " nothing that lasts longer."
        )


def administers(caller: Caller, facts: Facts, now: float) -> bool:
    """Whether somebody may make and change roles and users, on no condition."""
    return all(explain(caller, action, Target(), facts, now).allowed for action in _ADMINISTRATION)


def _ends(role: Role) -> float:
    return float("inf") if role.expires_at is None else role.expires_at


def _of(person: Person, now: float) -> Holding:
    return Holding.of_person([role for role in person.roles if role.holds_at(now)], person.traits)


def _check(editor: Caller, before: Holding, after: Holding, now: float) -> None:
    if _holds_everything(editor):
        return
    own = _own(editor, now)
    excess = (
        *_logins(own, before, after),
        *_calls(own, before, after),
        *_kubernetes(own, before, after),
        *_options(own, before, after),
        *_unrecorded(own, before, after),
    )
    if excess:
        raise NotHeld(f"Nobody gives what they do not hold, and {editor} does not hold: {_named(excess)}.")


def _lacks_of_admin(caller: Caller, now: float) -> tuple[str, ...]:
    """What the role ``admin`` gives, and somebody does not hold."""
    own, admin = _own(caller, now), _of(Person((USER_ROLES["admin"],)), now)
    return (*_logins(own, Holding(), admin), *_calls(own, Holding(), admin))


def _holds_everything(caller: Caller) -> bool:
    """Whether it is ``tctl`` on the auth host."""
    return caller.kind == "host" and any(role.name == "Admin" for role in caller.roles)


def _named(excess: Iterable[str]) -> str:
    found = list(dict.fromkeys(excess))
    more = f"; and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return "; ".join(shown(each) for each in found[:MAX_NAMED]) + more


def _own(editor: Caller, now: float) -> Holding:
    return Holding.of_person(map(_lasting, live_roles(editor, now)), editor.traits)


def _lasting(role: Role) -> Role:
    """What somebody has of a role at all times: of one that is lent no more than what it denies."""
    if not role.request:
        return role
    nothing = Options(port_forwarding=False, enhanced_recording=role.options.enhanced_recording)
    return evolve(role, allow=Conditions(), options=nothing)


def _logins(own: Holding, before: Holding, after: Holding) -> Iterator[str]:
    for given in after.logins:
        if not any(given.login == each.login and covers(each.nodes, given.nodes) for each in before.logins):
            yield from _not_held(own, after, given)
    for login in sorted(before.denied_logins - after.denied_logins):
        if not own.has_login(OnNodes(login, EVERY_NODE)) or login in own.denied_logins:
            yield f"the login {login} on every node, of which the denial would be taken back"
    for nodes in before.denied_nodes:
        kept = any(covers(each, nodes) for each in after.denied_nodes)
        if not kept and not (own.has_login(OnNodes(SUPERUSER, nodes)) and not own.denied_nodes):
            yield f"the login {SUPERUSER} on {described(nodes)}, of which the denial would be taken back"


def _not_held(own: Holding, after: Holding, given: OnNodes) -> Iterator[str]:
    """What of a login on nodes the editor does not have, and what is denied to the editor and not to others."""
    if not own.has_login(given) or given.login in own.denied_logins:
        yield str(given)
    for nodes in own.denied_nodes:
        if given.nodes.pairs and not any(covers(each, nodes) for each in after.denied_nodes):
            yield f"the login {given.login} on {described(nodes)}, which a role of the editor denies"


def _calls(own: Holding, before: Holding, after: Holding) -> Iterator[str]:
    new = [call for call in after.calls if not before.has_call(call) and call not in before.calls]
    freed = [Call(call.verb, call.kind) for call in before.denied_calls - after.denied_calls]
    for call in sorted((*new, *freed), key=str):
        if not own.has_call(call) or own.is_denied_call(call):
            yield str(call)


def _kubernetes(own: Holding, before: Holding, after: Holding) -> Iterator[str]:
    freed = before.denied_kubernetes - after.denied_kubernetes
    for key, name in sorted((after.kubernetes - before.kubernetes) | freed):
        if (key, name) not in own.kubernetes or (key, name) in own.denied_kubernetes:
            yield f"{name} of {key}"


def _options(own: Holding, before: Holding, after: Holding) -> Iterator[str]:
    if after.options is None:
        return
    mine, given = own.options or _NARROWEST, after.options
    former = _NARROWEST if before.options is None else before.options
    for name in _PERMISSIONS:
        if getattr(given, name) and not getattr(former, name) and not getattr(mine, name):
            yield f"options.{name}: true"
    for name in _RESTRICTIONS:
        if getattr(mine, name) and not getattr(given, name) and (before.options is None or getattr(former, name)):
            yield f"options.{name}: false"
    for name in _LIMITS:
        if _wider(getattr(given, name), getattr(mine, name)) and _wider(getattr(given, name), getattr(former, name)):
            yield f"options.{name.removesuffix('_s')} beyond {getattr(mine, name):g}"
    if given.max_session_ttl_s > max(mine.max_session_ttl_s, former.max_session_ttl_s):
        yield f"options.max_session_ttl beyond {format_duration(mine.max_session_ttl_s)}"


def _unrecorded(own: Holding, before: Holding, after: Holding) -> Iterator[str]:
    """What would not be recorded any more of others, and is of the editor."""
    if own.options is None or after.options is None:
        return
    for kind in own.options.enhanced_recording:
        recorded = before.options is None or kind in before.options.enhanced_recording
        if recorded and kind not in after.options.enhanced_recording:
            yield f"options.enhanced_recording without {kind}"


_NARROWEST = Options(
    max_session_ttl_s=1.0,
    port_forwarding=False,
    client_idle_timeout_s=1.0,
    disconnect_expired_cert=True,
    max_connections=1,
    max_sessions=1,
    pin_source_ip=True,
)


def _wider(given: float, limit: float) -> bool:
    """Of limits of which 0 is none."""
    return limit != 0 and (given == 0 or given > limit)
