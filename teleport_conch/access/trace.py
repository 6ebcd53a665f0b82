"""Why a decision was what it was: every role looked at, what failed in it, and the smallest change that would allow it.

This goes over the same questions as :mod:`teleport_conch.access.decision`, slowly and completely; a test holds the two
to the same answers. ``tctl why``, the audit event and the line in a node's log are made of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from teleport_conch.access.options import combine
from teleport_conch.access.question import (
    OPTIONS,
    Action,
    AnyAction,
    Caller,
    Facts,
    Login,
    OnNode,
    Target,
    denied_verbs,
    shown,
)
from teleport_conch.access.roles import Role
from teleport_conch.resources.lock import Lock

DENY = "deny"
MAX_LISTED = 16
"""How many logins or values a reason lists."""


@frozen
class Failure:
    """One thing that stood in the way.

    :param part: ``deny``, ``label``, ``login``, ``option``, ``rule``, ``owner``, ``expired`` of a role; ``principal``,
        ``identity`` or ``limit`` of the caller; ``lock``.
    :param change: what would have to be done about it.
    """

    part: str
    reason: str
    change: str


@frozen
class Finding:
    """One role: it allowed the action where ``failures`` is empty."""

    role: str
    failures: tuple[Failure, ...] = ()

    def of_deny(self) -> tuple[Failure, ...]:
        return tuple(failure for failure in self.failures if failure.part == DENY)

    def of_allow(self) -> tuple[Failure, ...]:
        return tuple(failure for failure in self.failures if failure.part != DENY)


@frozen
class Trace:
    """A decision taken apart; :attr:`allowed` is what was decided.

    :param outside: what stood in the way that no role says anything about.
    """

    caller: str = ""
    action: str = ""
    outside: tuple[Failure, ...] = ()
    roles: tuple[Finding, ...] = ()

    @property
    def allowed(self) -> bool:
        denied = any(finding.of_deny() for finding in self.roles)
        return not self.outside and not denied and any(not finding.failures for finding in self.roles)

    @property
    def smallest_change(self) -> tuple[str, ...]:
        """The fewest changes that together would allow the action; none where it is allowed."""
        changes = [failure.change for failure in self.outside]
        changes += [failure.change for finding in self.roles for failure in finding.of_deny()]
        if not self.roles:
            return (*changes, f"give {self.caller} a role that allows it")
        nearest = min(self.roles, key=lambda finding: (len(finding.of_allow()), finding.role))
        return (*changes, *(failure.change for failure in nearest.of_allow()))

    def to_json(self) -> dict[str, object]:
        return {
            "caller": self.caller,
            "action": self.action,
            "allowed": self.allowed,
            "outside": [_failure(failure) for failure in self.outside],
            "roles": [
                {"role": finding.role, "failures": [_failure(failure) for failure in finding.failures]}
                for finding in self.roles
            ],
            "smallest_change": list(self.smallest_change),
        }

    def lines(self) -> tuple[str, ...]:
        """The trace for reading: one line for each thing that failed."""
        found = [f"{self.caller}: {self.action}: {'allowed' if self.allowed else 'denied'}"]
        found += [f"{failure.part}: {failure.reason}" for failure in self.outside]
        for finding in self.roles:
            found += [f"role {finding.role}: {failure.part}: {failure.reason}" for failure in finding.failures]
            if not finding.failures:
                found.append(f"role {finding.role}: allows it")
        return (*found, *(f"to allow it: {change}" for change in self.smallest_change))


def _failure(failure: Failure) -> dict[str, object]:
    return {"part": failure.part, "reason": failure.reason, "change": failure.change}


def explain(caller: Caller, action: AnyAction, target: Target, facts: Facts, now: float) -> Trace:
    """The trace of ``decide()`` with the same arguments."""
    live = tuple(role for role in caller.roles if role.holds_at(now))
    outside = tuple(map(_lock, facts.shut_out(caller, action, target, now)))
    if not isinstance(action, Action):
        outside += tuple(_outside(caller, live, action, facts))
    findings = []
    for role in caller.roles:
        finding = Finding(role.name, tuple(_failures(caller, role, live, action, target)))
        findings.append(finding if role.holds_at(now) else _expired(finding))
    return Trace(str(caller), action.sentence(target), outside, tuple(findings))


def _expired(finding: Finding) -> Finding:
    failure = Failure("expired", "the role has expired", f"extend the role {finding.role}")
    return Finding(finding.role, (failure, *finding.of_allow()))


def _failures(
    caller: Caller, role: Role, live: tuple[Role, ...], action: AnyAction, target: Target
) -> Iterator[Failure]:
    if isinstance(action, Action):
        yield from _call(caller, role, action, target)
        return
    yield from _denied_on_node(caller, role, action.login, target)
    yield from _label(role, target)
    yield from _login(caller, role, action.login)
    option = OPTIONS.get(type(action))
    if option is not None and not any(getattr(each.options, option) for each in live):
        setting = f"options.{option}: true"
        yield Failure("option", f"the role does not have {setting}", f"set {setting} in the role {role.name}")


def _call(caller: Caller, role: Role, action: Action, target: Target) -> Iterator[Failure]:
    what, own = f"{action.verb} on {action.kind}", caller.owns(target)
    for verb in denied_verbs(action.verb):
        if role.deny.covers(verb, action.kind, own):
            denied = f"{verb} on {action.kind}"
            yield Failure(DENY, f"deny.rules covers {denied}", f"take {denied} out of deny.rules of {role.name}")
            break
    if role.allow.covers(action.verb, action.kind, own):
        return
    if role.allow.covers(action.verb, action.kind, own=True):
        change = f"let the owner of the {action.kind} do it, or add {what} to allow.rules of {role.name}"
        yield Failure("owner", f"allow.rules covers {what} for one's own only, and this is another's", change)
    else:
        yield Failure("rule", f"allow.rules does not cover {what}", f"add {what} to allow.rules of {role.name}")


def _denied_on_node(caller: Caller, role: Role, login: str, target: Target) -> Iterator[Failure]:
    if role.deny.node_labels.matches(target.labels):
        node = shown(target.name)
        change = f"narrow deny.node_labels of {role.name}, so that it leaves {node} out"
        yield Failure(DENY, f"deny.node_labels matches {node}", change)
    if role.deny.names_login(login, caller.traits):
        login = shown(login)
        yield Failure(DENY, f"deny.logins has {login}", f"take {login} out of deny.logins of {role.name}")


def _label(role: Role, target: Target) -> Iterator[Failure]:
    selector = role.allow.node_labels
    if not selector.pairs:
        yield Failure("label", "allow.node_labels is empty", f"set allow.node_labels of {role.name}")
    for key in selector.failed(target.labels):
        wanted, found = _listed(selector.values(key)), target.labels.get(key)
        if found is None:
            change = f"give {shown(target.name)} a label {key} that {role.name} allows ({wanted})"
            yield Failure("label", f"{shown(target.name)} has no label {key}, and {wanted} is due", change)
        else:
            change = f"add {shown(found)} to {key} in allow.node_labels of {role.name}"
            yield Failure("label", f"the label {key} is {shown(found)}, and {wanted} is due", change)


def _login(caller: Caller, role: Role, login: str) -> Iterator[Failure]:
    if role.allow.names_login(login, caller.traits):
        return
    allowed = _listed(role.allow.logins_of(caller.traits))
    change = f"add {shown(login)} to allow.logins of {role.name}"
    yield Failure("login", f"allow.logins has {allowed}, and not {shown(login)}", change)


def _lock(lock: Lock) -> Failure:
    targets = " and ".join(f"{target} {shown(name)}" for target, name in lock.targets().items())
    message = f": {shown(lock.message)}" if lock.message else ""
    name = shown(lock.name)
    return Failure("lock", f"the lock {name} is in force on {targets}{message}", f"remove the lock {name}")


def _outside(caller: Caller, live: tuple[Role, ...], action: OnNode, facts: Facts) -> Iterator[Failure]:
    login = shown(action.login)
    if caller.kind != "user":
        yield Failure("identity", "the identity of a host logs in nowhere", "use the certificate of a person")
    elif action.login not in caller.logins:
        reason = f"the certificate has the logins {_listed(caller.logins)}, and not {login}"
        yield Failure("principal", reason, f"ask for a certificate with the login {login}")
    options = combine(role.options for role in live)
    counts = {"max_connections": facts.connections, "max_sessions": facts.sessions}
    for name, count in counts.items() if isinstance(action, Login) else ():
        limit = getattr(options, name)
        if 0 < limit <= count:
            yield Failure("limit", f"{count} are open, and {name} is {limit}", f"close one, or raise {name}")


def _listed(texts: tuple[str, ...]) -> str:
    if not texts:
        return "nothing"
    more = f" and {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
    return ", ".join(shown(text) for text in texts[:MAX_LISTED]) + more
