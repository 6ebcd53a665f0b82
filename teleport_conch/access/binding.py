"""A role as it speaks of one person's login, filled in with the person's traits, on any node."""

from __future__ import annotations

from attrs import define, field

from teleport_conch.access.findings import DENY, Failure, Finding
from teleport_conch.access.labels import LabelSelector, Wanted
from teleport_conch.access.roles import Role
from teleport_conch.access.shown import shown
from teleport_conch.access.templates import Traits

MAX_LISTED = 16
"""How many logins or values a reason lists."""
MAX_REMEMBERED_FINDINGS = 1024

Values = tuple[str | None, ...]


@define(eq=False)
class _Key:
    """One key of ``allow.node_labels``, and what was found about the values that a node may have for it.

    :ivar at: where its value stands among those of the role's keys.
    """

    at: int
    _role: str
    _wanted: Wanted
    _known: dict[str | None, Failure | None] = field(factory=dict)

    def judge(self, values: Values) -> Failure | None:
        value = values[self.at]
        try:
            return self._known[value]
        except KeyError:
            return self._find(value)

    def _find(self, value: str | None) -> Failure | None:
        if len(self._known) >= MAX_REMEMBERED_FINDINGS:
            self._known.clear()
        matches = value is not None and self._wanted.accepts(value)
        failure = None if matches else _label(self._role, self._wanted.key, listed(self._wanted.listed), value)
        self._known[value] = failure
        return failure


@define(eq=False)
class RoleForLogin:
    """
    :ivar keys: the labels that the role asks about; with the same values of them it finds the same.
    :ivar known: what was found so far. Decisions look here first, since the same nodes are asked for again and again.
    """

    keys: tuple[str, ...]
    known: dict[Values, Finding]
    _role: Role
    _allow: tuple[_Key, ...]
    _deny: LabelSelector
    _first: tuple[Failure, ...]
    _last: tuple[Failure, ...]

    @classmethod
    def of(cls, role: Role, login: str, traits: Traits) -> RoleForLogin:
        allow, deny = role.allow.node_labels.filled(traits), role.deny.node_labels.filled(traits)
        keys = tuple(dict.fromkeys(each.key for each in (*allow.wanted, *deny.wanted)))
        parts = tuple(_Key(at, role.name, wanted) for at, wanted in enumerate(allow.wanted))
        first = (_denied_login(role, login),) if role.deny.names_login(login, traits) else ()
        last = () if role.allow.names_login(login, traits) else (_missing_login(role, login, traits),)
        nowhere = () if allow.pairs else (_nowhere(role),)
        return cls(keys, {}, role, parts, deny, (*first, *nowhere), last)

    def find(self, values: Values) -> Finding:
        """What the role says about a node whose labels have the ``values`` of :attr:`keys`; None for no such label."""
        if len(self.known) >= MAX_REMEMBERED_FINDINGS:
            self.known.clear()
        labels = [failure for each in self._allow if (failure := each.judge(values)) is not None]
        failures = (*self._denied(values), *self._first, *labels, *self._last)
        finding = self.known[values] = Finding(self._role.name, failures)
        return finding

    def _denied(self, values: Values) -> tuple[Failure, ...]:
        if not self._deny.pairs:
            return ()
        labels = {key: value for key, value in zip(self.keys, values, strict=True) if value is not None}
        return (_denied_node(self._role),) if self._deny.matches(labels) else ()


def _denied_node(role: Role) -> Failure:
    change = f"narrow deny.node_labels of {role.name}, so that it leaves the node out"
    return Failure(DENY, "deny.node_labels matches the node", change)


def _nowhere(role: Role) -> Failure:
    return Failure("label", "allow.node_labels is empty", f"set allow.node_labels of {role.name}")


def _label(role: str, key: str, wanted: str, found: str | None) -> Failure:
    key = shown(key)
    if found is None:
        change = f"give the node a label {key} that {role} allows ({wanted})"
        return Failure("label", f"the node has no label {key}, and {wanted} is due", change)
    change = f"add {shown(found)} to {key} in allow.node_labels of {role}"
    return Failure("label", f"the label {key} is {shown(found)}, and {wanted} is due", change)


def _denied_login(role: Role, login: str) -> Failure:
    login = shown(login)
    return Failure(DENY, f"deny.logins has {login}", f"take {login} out of deny.logins of {role.name}")


def _missing_login(role: Role, login: str, traits: Traits) -> Failure:
    allowed, login = listed(role.allow.logins_of(traits)), shown(login)
    return Failure(
        "login", f"allow.logins has {allowed}, and not {login}", f"add {login} to allow.logins of {role.name}"
    )


def listed(texts: tuple[str, ...]) -> str:
    """``texts`` for a sentence."""
    if not texts:
        return "nothing"
    more = f" and {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
    return ", ".join(shown(text) for text in texts[:MAX_LISTED]) + more
