"""The evaluation behind every decision: each role is looked at, also where the answer is known already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from teleport_conch.access.binding import Values, listed
from teleport_conch.access.findings import DENY, Failure, Finding, Trace
from teleport_conch.access.locks import failure_of
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
)
from teleport_conch.access.remarks import Remark
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import OWN, Rule
from teleport_conch.access.scene import Scene
from teleport_conch.access.shown import shown

MAX_REMARKS = 16
"""What is logged of one decision."""

_Findings = tuple[Finding, ...]


def explain(caller: Caller, action: AnyAction, target: Target, facts: Facts, now: float) -> Trace:
    """What ``decide()`` decides with the same arguments, and why."""
    remarks: tuple[Remark, ...] = ()
    if isinstance(action, Action):
        outside = _locked(caller, action, target, facts, now) if facts.locks else ()
        findings, remarks = _of_call(caller, action, target, now)
    else:
        outside = _outside(caller, action, target, facts, now)
        findings = _on_node(caller, action, target, now)
    return Trace(str(caller), action.sentence(target), outside, findings, remarks, caller.lent, caller.aged)


def live_roles(caller: Caller, now: float) -> tuple[Role, ...]:
    """The roles that have not expired; the others neither allow nor deny."""
    return tuple(role for role in caller.roles if role.holds_at(now)) if caller.expiring else caller.roles


def depends(caller: Caller, action: Action, now: float) -> bool:
    """Whether it depends on the resource: some rule allows the action on some, and none denies it on every one."""
    live = live_roles(caller, now)
    denying = (
        rule for role in live for verb in denied_verbs(action.verb) for rule in role.deny.rules_about(verb, action.kind)
    )
    return any(_about(role, action) for role in live) and all(rule.where for rule in denying)


def _on_node(caller: Caller, action: OnNode, target: Target, now: float) -> _Findings:
    label, asked, findings = target.labels.get, dict[tuple[str, ...], Values](), []
    for each in caller.for_login(action.login):  # a loop without calls, since this is where a decision spends its time
        values = asked.get(each.keys)
        if values is None:
            values = asked[each.keys] = tuple(map(label, each.keys))
        findings.append(each.known.get(values) or each.find(values))
    option = OPTIONS.get(type(action))
    if option is not None and not any(getattr(role.options, option) for role in live_roles(caller, now)):
        findings = [_without(option, finding) for finding in findings]
    return _in_time(caller, findings, now)


def _without(option: str, finding: Finding) -> Finding:
    setting = f"options.{option}: true"
    failure = Failure("option", f"the role does not have {setting}", f"set {setting} in the role {finding.role}")
    return Finding(finding.role, (*finding.failures, failure))


def _in_time(caller: Caller, findings: Sequence[Finding], now: float) -> _Findings:
    if not caller.expiring:
        return tuple(findings)
    both = zip(caller.roles, findings, strict=True)
    return tuple(finding if role.holds_at(now) else _expired(role, finding) for role, finding in both)


def _expired(role: Role, finding: Finding) -> Finding:
    failure = Failure("expired", "the role has expired", f"extend the role {role.name}")
    if role.request:
        failure = Failure("expired", "the access request that lends it is over", f"ask for the role {role.name} again")
    return Finding(finding.role, (failure, *finding.of_allow()))


def _outside(caller: Caller, action: OnNode, target: Target, facts: Facts, now: float) -> tuple[Failure, ...]:
    found = _locked(caller, action, target, facts, now) if facts.locks else ()
    if caller.kind != "user":
        reason, change = "the identity of a host logs in nowhere", "use the certificate of a person"
        found = (*found, Failure("identity", reason, change))
    elif action.login not in caller.logins:
        login = shown(action.login)
        reason = f"the certificate has the logins {listed(caller.logins)}, and not {login}"
        found = (*found, Failure("principal", reason, f"ask for a certificate with the login {login}"))
    if isinstance(action, Login) and (facts.connections or facts.sessions):
        return (*found, *_beyond(live_roles(caller, now), facts))
    return found


def _beyond(live: Sequence[Role], facts: Facts) -> Iterator[Failure]:
    options = combine(role.options for role in live)
    for name, count in {"max_connections": facts.connections, "max_sessions": facts.sessions}.items():
        limit = getattr(options, name)
        if 0 < limit <= count:
            lowest = ", ".join(role.name for role in live if getattr(role.options, name) == limit)
            yield Failure(
                "limit", f"{count} are open, and {name} is {limit}", f"close one, or raise {name} of {lowest}"
            )


def _locked(caller: Caller, action: AnyAction, target: Target, facts: Facts, now: float) -> tuple[Failure, ...]:
    return tuple(map(failure_of, facts.shut_out(caller, action, target, now)))


# Calls of the API.


def _of_call(caller: Caller, action: Action, target: Target, now: float) -> tuple[_Findings, tuple[Remark, ...]]:
    scene = target.scene(caller)
    denying = [list(_denying(role, action, scene)) for role in caller.roles]
    allowing = [[rule for rule in _about(role, action) if rule.holds(scene)] for role in caller.roles]
    findings = [
        Finding(role.name, (*_denied(role, denied, action.kind), *(() if allowed else _not_allowed(role, action))))
        for role, denied, allowed in zip(caller.roles, denying, allowing, strict=True)
    ]
    in_time = _in_time(caller, findings, now)
    refused = any(finding.denies for finding in in_time)
    deciding = [[rule for _, rule in denied] for denied in denying] if refused else allowing
    return in_time, _remarks(caller, deciding, scene, now)


def _about(role: Role, action: Action) -> tuple[Rule, ...]:
    return (*role.allow.rules_about(action.verb, action.kind), *role.allow.implied(action.verb, action.kind))


def _denying(role: Role, action: Action, scene: Scene) -> Iterator[tuple[str, Rule]]:
    """The rules that deny, each with the verb; a condition about what is not known denies."""
    for verb in denied_verbs(action.verb) if role.deny.rules else ():
        for rule in role.deny.rules_about(verb, action.kind):
            if rule.holds(scene) is not False:
                yield verb, rule


def _denied(role: Role, denying: Sequence[tuple[str, Rule]], kind: str) -> Iterator[Failure]:
    for verb, rule in denying[:1]:
        denied, where = f"{verb} on {kind}", f" where {rule.where}" if rule.where else ""
        yield Failure(DENY, f"deny.rules covers {denied}{where}", f"take {denied} out of deny.rules of {role.name}")


def _not_allowed(role: Role, action: Action) -> Iterator[Failure]:
    what, kind = f"{action.verb} on {action.kind}", action.kind
    rules = _about(role, action)
    if not rules:
        change = f"add {what} to allow.rules of {role.name}"
        yield Failure("rule", f"allow.rules does not cover {what}", change)
    elif any(rule.where in OWN for rule in rules):
        change = f"let the owner of the {kind} do it, or add {what} to allow.rules of {role.name}"
        yield Failure("owner", f"allow.rules covers {what} for one's own only, and this is another's", change)
    else:
        where = rules[0].where
        change = f"widen the condition of {what} in allow.rules of {role.name}"
        yield Failure("where", f"allow.rules covers {what} only where {where}, and that does not hold", change)


def _remarks(caller: Caller, deciding: Sequence[Sequence[Rule]], scene: Scene, now: float) -> tuple[Remark, ...]:
    """What the rules that decided want logged, whatever the order of the roles."""
    both = zip(caller.roles, deciding, strict=True)
    rules = [rule for role, decided in both if role.holds_at(now) for rule in decided if rule.actions]
    return tuple(remark for rule in rules for remark in rule.remarks(scene))[:MAX_REMARKS] if rules else ()
