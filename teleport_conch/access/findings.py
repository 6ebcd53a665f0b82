"""A decision taken apart: every role looked at, what failed in it, and the smallest change that would allow it.

``tctl why``, the audit event and the line in a node's log are made of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, field, frozen

from teleport_conch.access.aged import NOT_AGED, Aged
from teleport_conch.access.remarks import Remark

DENY = "deny"


@frozen
class Failure:
    """One thing that stood in the way.

    :param part: ``deny``, ``label``, ``login``, ``option``, ``rule``, ``where``, ``owner``, ``expired`` of a role;
        ``principal``, ``identity``, ``certificate`` or ``limit`` of the caller; ``lock``.
    :param change: what would have to be done about it.
    """

    part: str
    reason: str
    change: str

    def to_json(self) -> dict[str, object]:
        return {"part": self.part, "reason": self.reason, "change": self.change}


def _denies(finding: Finding) -> bool:
    return any(failure.part == DENY for failure in finding.failures)


@frozen
class Finding:
    """One role: it allowed the action where ``failures`` is empty, and denied it where one of them is a denial."""

    role: str
    failures: tuple[Failure, ...] = ()
    denies: bool = field(init=False, eq=False, repr=False, default=Factory(_denies, takes_self=True))

    def of_deny(self) -> tuple[Failure, ...]:
        return tuple(failure for failure in self.failures if failure.part == DENY)

    def of_allow(self) -> tuple[Failure, ...]:
        return tuple(failure for failure in self.failures if failure.part != DENY)


@frozen
class Trace:
    """What was decided, and why.

    :param outside: what stood in the way that no role says anything about.
    :param remarks: what the rules that decided want to have logged.
    :param lent: by the name of a role that an access request lends, the id of that request.
    :param aged: what the certificate says that is not so any more, and what has become so since.
    """

    caller: str = ""
    action: str = ""
    outside: tuple[Failure, ...] = ()
    roles: tuple[Finding, ...] = ()
    remarks: tuple[Remark, ...] = ()
    lent: Mapping[str, str] = field(factory=dict)
    aged: Aged = NOT_AGED

    @property
    def allowing(self) -> str | None:
        """The first role by name that allowed the action; None where it was refused."""
        allowing = None
        for finding in self.roles:
            if finding.denies:
                return None
            if allowing is None and not finding.failures:
                allowing = finding.role
        return None if self.outside else allowing

    @property
    def allowed(self) -> bool:
        return self.allowing is not None

    @property
    def smallest_change(self) -> tuple[str, ...]:
        """The fewest changes that together would allow the action; none where it is allowed."""
        changes = [failure.change for failure in self.outside]
        changes += [failure.change for finding in self.roles for failure in finding.of_deny()]
        if not self.roles:
            return (*changes, self.aged.change or f"give {self.caller} a role that allows it")
        nearest = min(self.roles, key=lambda finding: (len(finding.of_allow()), finding.role))
        return (*changes, *(failure.change for failure in nearest.of_allow()))

    def to_json(self) -> dict[str, object]:
        return {
            "caller": self.caller,
            "action": self.action,
            "allowed": self.allowed,
            "outside": [failure.to_json() for failure in self.outside],
            "roles": [self._role(finding) for finding in self.roles],
            **self.aged.to_json(),
            "smallest_change": list(self.smallest_change),
        }

    def _role(self, finding: Finding) -> dict[str, object]:
        request = {"request": self.lent[finding.role]} if finding.role in self.lent else {}
        return {"role": finding.role, **request, "failures": [failure.to_json() for failure in finding.failures]}

    def lines(self) -> tuple[str, ...]:
        """The trace for reading: one line for each thing that failed."""
        found = [f"{self.caller}: {self.action}: {'allowed' if self.allowed else 'denied'}"]
        found += [f"{failure.part}: {failure.reason}" for failure in self.outside]
        found += self.aged.lines()
        for finding in self.roles:
            request = f" (access request {self.lent[finding.role]})" if finding.role in self.lent else ""
            role = f"role {finding.role}{request}"
            found += [f"{role}: {failure.part}: {failure.reason}" for failure in finding.failures]
            if not finding.failures:
                found.append(f"{role}: allows it")
        return (*found, *(f"to allow it: {change}" for change in self.smallest_change))
