"""Decisions about access, and plans: in one process, without any network, against what they have to reach.

Figures are by processor time, so that they are those of one core whatever else the machine does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from attrs import evolve

from bench.figures import Comparison, at_least, at_most
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Caller, Denial, Facts, Login, Target, decide
from teleport_conch.access.findings import Trace
from teleport_conch.access.labels import LabelSelector
from teleport_conch.access.plan import Person, State, plan
from teleport_conch.access.reach import Fleet, Node
from teleport_conch.access.roles import Role

ROLES = 20
LABELS = 20
NODES = 1000
LOGINS = ("alice", "root")
TARGET = 50_000.0
"""Decisions in a second."""
PLAN_ROLES, PLAN_USERS, PLAN_NODES = 50, 100, 1000
ROLES_OF_USER = 10
PLAN_TARGET_S = 5.0
NOW = 1_700_000_000.0

_ENVIRONMENTS = ("prod", "stage", "dev")
_REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "ap-south-1", "sa-east-1")


def compare_decisions(folder: Path, rounds: int) -> Comparison:
    """Refusals in a second, each with its whole trace."""
    caller, nodes = person(), list(targets(Random(1)))
    check(traces(caller, nodes))  # and so every node was asked about once before
    rates = []
    for _ in range(rounds):
        started = time.process_time()
        count = sum(1 for _ in traces(caller, nodes))
        rates.append(count / (time.process_time() - started))
    what = f"decisions, {ROLES} roles, traced (the other: target)"
    return Comparison(what, "1/s", at_least(1.0), rates, [TARGET] * rounds)


def traces(caller: Caller, nodes: Iterable[Target]) -> Iterator[Trace]:
    """One refusal for each node and login."""
    facts = Facts()
    for target in nodes:
        for login in LOGINS:
            try:
                decide(caller, Login(login), target, facts, NOW)
            except Denial as denial:
                yield denial.trace


def check(found: Iterable[Trace]) -> None:
    """That all were refused, and that every role says why."""
    for trace in found:
        assert not trace.allowed
        assert len(trace.roles) == ROLES
        assert all(finding.failures for finding in trace.roles)
        assert len(trace.lines()) > ROLES


def person() -> Caller:
    """Somebody with 20 roles, none of which is for production."""
    traits = {"logins": LOGINS, "team": ("core", "infra"), "email": ("alice@example.com",), "app": ("web", "api")}
    return Caller("alice", "user", tuple(map(role, range(ROLES))), LOGINS, traits, cluster="example")


def role(number: int) -> Role:
    """One with literals, globs, regular expressions and templates, in logins and labels."""
    logins = (
        "{{internal.logins}}",
        "svc-{{external.app}}",
        '{{regexp.replace(external.email, "^([a-z]+)@.*$", "$1")}}',
        f"deploy{number}",
    )
    wanted = {
        "env": ("test-*", "stage", f"lab{number}"),
        "region": (f"^(us|eu)-(east|west)-{number % 3}$", "us-*"),
        "team": ("{{external.team}}", f"team{number}"),
    }
    deny = Conditions(("nobody",), LabelSelector({"tier": ("secret*",)}))
    return Role(f"role{number:02}", allow=Conditions(logins, LabelSelector(wanted)), deny=deny)


def targets(random: Random) -> Iterator[Target]:
    """Nodes with 20 labels: those that roles ask about, and some with a value of their own."""
    for number in range(NODES):
        asked = {
            "env": random.choice(("prod", "dev")),
            "region": random.choice(_REGIONS),
            "team": f"team{random.randrange(40)}",
            "tier": random.choice(("open", "internal")),
        }
        others = {f"label{key}": f"value{number}-{key}" for key in range(LABELS - len(asked))}
        yield Target({**asked, **others}, f"node{number}", owner=f"uuid-{number}")


def compare_plan(folder: Path, rounds: int) -> Comparison:
    """Seconds for one role changed."""
    before, nodes = state(Random(1)), list(plan_nodes(Random(2)))
    widened = evolve(before.roles["role00"], allow=Conditions(("web", "new"), LabelSelector({"env": ("*",)})))
    after = State({**before.roles, "role00": widened}, before.people)
    times = []
    for _ in range(rounds):
        started = time.process_time()
        steps = list(plan(before, after, Fleet(nodes), NOW))
        times.append(time.process_time() - started)
        assert 0 < len(steps) <= PLAN_USERS
        assert sum(len(step.gained) for step in steps) > PLAN_NODES
    what = f"plan, {PLAN_USERS} users, {PLAN_NODES:,} nodes (the other: target)"
    return Comparison(what, "s", at_most(1.0), times, [PLAN_TARGET_S] * rounds)


def state(random: Random) -> State:
    """50 roles, and 100 users who all have the one that is changed, and nine others."""
    roles = {each.name: each for each in map(role, range(PLAN_ROLES))}
    people = {}
    for number in range(PLAN_USERS):
        others = random.sample(sorted(roles.keys() - {"role00"}), ROLES_OF_USER - 1)
        traits = {"logins": (f"user{number}", "root"), "team": (f"team{number % 20}",)}
        people[f"user{number}"] = Person(f"user{number}", ("role00", *others), traits)
    return State(roles, people)


def plan_nodes(random: Random) -> Iterator[Node]:
    """Nodes with labels that some of the roles want."""
    for target in list(targets(random))[:PLAN_NODES]:
        yield Node(target.name, {**target.labels, "env": random.choice(_ENVIRONMENTS)})
