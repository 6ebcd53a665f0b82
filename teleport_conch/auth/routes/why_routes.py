"""Routes that answer questions about access: why, why not, and what if."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from teleport_conch.access.plan import Access, Person, State, Step, plan
from teleport_conch.access.question import Target
from teleport_conch.access.reach import Fleet, Node
from teleport_conch.access.reference import parse_reference
from teleport_conch.access.resource_kinds import check_kinds
from teleport_conch.access.roles import Role
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.events import Events
from teleport_conch.auth.limits import MAX_PLANNED_RESOURCES, MAX_PLANNED_ROWS, PLAN_CALL_S, PLAN_SLICE_S
from teleport_conch.auth.routes.calls import Answer, Call, Needs
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.why import Question, answer
from teleport_conch.auth.rules.roles import check_not_built_in
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.user import User, check_written


def add(gate: Gate, cluster: Cluster, events: Events) -> None:
    """Register the routes."""

    @gate.route("GET", "/v1/denials/<reference>", Needs("read", "event"))
    async def denial(call: Call, reference: str) -> Answer:
        meant = parse_reference(reference)
        if meant is None:
            raise BadParameter(f"{reference[:32]!a} is no reference; one has 8 letters and digits, as in 7k2m9xqd.")
        event = await events.refusal(meant, call.now)
        return {"event": event, "trace": event.get("trace", [])}

    @gate.route("POST", "/v1/why", Needs("read", "user"))
    async def why(call: Call) -> Answer:
        return answer(cluster, Question.from_json(call.body()), call.now)

    @gate.route("POST", "/v1/plan", Needs("update", "role"))
    async def planned(call: Call) -> Answer:
        fields, before = Fields(call.body(), "request"), _state(cluster, call.now)
        after = _changed(cluster, call, fields, before)
        fleet = Fleet([Node(each.hostname, each.all_labels) for each in cluster.inventory.all("node")])
        steps = plan(before, after, fleet, call.now, fields.text("next", default=""))
        return await _worked_out(cluster.clocks.timers, steps)


def _state(cluster: Cluster, now: float) -> State:
    users = cluster.users.shelf.values.values()
    lent = _lent(cluster, now)
    people = {user.name: _person(user, lent) for user in users if user.in_force_at(now)}
    return State(dict(cluster.roles), people)


def _lent(cluster: Cluster, now: float) -> Mapping[str, tuple[str, ...]]:
    """The roles that access requests lend at the moment, by user."""
    directory, found = cluster.directory, dict[str, tuple[str, ...]]()
    for request in cluster.requests.shelf.values.values():
        if not directory.why_not(request.user, request.name, now):
            found[request.user] = (*found.get(request.user, ()), *request.roles)
    return found


def _person(user: User, lent: Mapping[str, tuple[str, ...]]) -> Person:
    return Person(user.name, user.roles, user.traits, lent.get(user.name, ()))


def _changed(cluster: Cluster, call: Call, fields: Fields, before: State) -> State:
    """What there would be.

    :raises BadParameter: a resource that is wrong, or of a kind of which plans know nothing.
    """
    roles, people, lent = dict(before.roles), dict(before.people), _lent(cluster, call.now)
    for resource in fields.children("resources", max_items=MAX_PLANNED_RESOURCES):
        kind = resource.text("kind")
        if kind == "role":
            role = Role.from_json(resource.raw())
            check_not_built_in(role.name)
            check_kinds(role)
            roles[role.name] = role
        elif kind == "user":
            check_written(resource.raw())
            user = User.from_json(resource.raw())
            people[user.name] = _person(user, lent)
        else:
            raise BadParameter(f"{resource.where}.kind is {kind[:32]!a}; a plan is about roles and users.")
    for name in fields.texts("removed", max_items=MAX_PLANNED_RESOURCES):
        kind, _, named = name.partition("/")
        if kind == "role":
            roles.pop(named, None)
        elif kind == "user":
            people.pop(named, None)
        else:
            raise BadParameter(f"request.removed holds {name[:64]!a}; what can be removed is role/NAME and user/NAME.")
    if people != before.people and not call.may("update", "user", Target()):
        raise AccessDenied("A plan about users takes the permission to update them.")
    return State(roles, people)


@define
class _Told:
    """What is answered: bounded lists, and all counts."""

    gained: list[Access] = field(factory=list)
    lost: list[Access] = field(factory=list)
    counts: dict[str, int] = field(factory=lambda: dict.fromkeys(("users", "of", "gained", "lost"), 0))

    def add(self, step: Step) -> None:
        self.gained += step.gained[: MAX_PLANNED_ROWS - len(self.gained)]
        self.lost += step.lost[: MAX_PLANNED_ROWS - len(self.lost)]
        self.counts["users"] += 1
        self.counts["of"] = step.of
        self.counts["gained"] += len(step.gained)
        self.counts["lost"] += len(step.lost)

    def to_json(self, next_: str) -> dict[str, object]:
        gained, lost = ([access.to_json() for access in each] for each in (self.gained, self.lost))
        return {"gained": gained, "lost": lost, "counts": self.counts, "next": next_}


async def _worked_out(timers: IReactorTime, steps: Iterator[Step]) -> Mapping[str, object]:
    """As much of a plan as one call works out, with other calls answered in between."""
    told = _Told()
    began = turn = timers.seconds()
    for step in steps:
        told.add(step)
        now = timers.seconds()
        if now - began >= PLAN_CALL_S and step.done < step.of:
            return told.to_json(step.user)
        if now - turn >= PLAN_SLICE_S:
            await deferLater(timers, 0)
            turn = timers.seconds()
    return told.to_json("")
