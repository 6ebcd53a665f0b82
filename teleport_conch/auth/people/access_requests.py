"""Access requests as they are made, decided and removed. What an approved one lends, the room ``access`` says.

One lies under ``access_requests/<id>`` until it is over. An approved one lasts for the shortest ``max_session_ttl`` of
its roles, counted from when it was made, and for 30 hours at most; a pending one for an hour at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from attrs import define, evolve, field, frozen

from teleport_conch.access.options import combine
from teleport_conch.access.requesting import Asker
from teleport_conch.access.roles import Role
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.limits import (
    ACCESS_REQUESTS_PER_USER,
    MAX_ACCESS_REQUESTS,
    MAX_PERSONS_CERTIFICATE_S,
    PENDING_REQUEST_S,
)
from teleport_conch.auth.people.users import Users, check_no_robot
from teleport_conch.auth.state.shelf import Shelf, Stored
from teleport_conch.errors import BadParameter, LimitExceeded, NotFound
from teleport_conch.resources.access_request import AccessRequest, Annotations, RequestState
from teleport_conch.storage.backend import IBackend

PREFIX = "access_requests/"
REASON_DUE = "The roles of this user want a reason: tsh login --request-reason=..., tctl requests create --reason=..."


def open_shelf(backend: IBackend) -> Shelf[AccessRequest]:
    """Where they are."""
    read, limit = AccessRequest.from_json, MAX_ACCESS_REQUESTS
    return Shelf("access request", PREFIX, backend, read, limit, lambda request: request.expires_at)


@frozen
class Resolution:
    """What somebody decides about a request.

    :ivar roles: of an approval: those of its roles that are lent; none for all.
    :ivar delegator: on whose behalf, where a program decides for somebody.
    """

    state: RequestState
    reason: str = ""
    annotations: Annotations = field(factory=dict)
    roles: tuple[str, ...] = ()
    delegator: str = ""


@define(eq=False)
class AccessRequests:
    """All of them.

    :ivar _roles: all roles of people, by name.
    :ivar _random: so many random bytes.
    """

    shelf: Shelf[AccessRequest]
    _clocks: Clocks
    _users: Users
    _roles: Mapping[str, Role]
    _emit: Emit
    _random: Callable[[int], bytes]

    def get(self, name: str) -> Stored[AccessRequest]:
        """:raises NotFound: there is none, or it is over."""
        found = self.shelf.get(name)
        if self._clocks.wall() >= found.value.expires_at:
            raise NotFound(f"There is no access request {name[:64]!a}.")
        return found

    def asker(self, name: str) -> Asker:
        """A user as somebody who asks for roles.

        :raises NotFound: there is none, or none any more. :raises BadParameter: it is a robot's.
        """
        check_no_robot(name)
        user = self._users.usable(name)
        if user is None:
            raise NotFound(f"There is no user {name[:64]!a}; 'tctl users ls' lists them.")
        return Asker(name, tuple(self._roles[role] for role in user.roles if role in self._roles), user.traits)

    def strategy(self, name: str) -> tuple[str, str]:
        """Whether a login of a user is to ask for roles, as ``request_access`` and ``request_prompt`` have it."""
        asker, now = self.asker(name), self._clocks.wall()
        options = combine(role.options for role in asker.roles if role.holds_at(now))
        if options.request_access == "optional" or not asker.all_of(self._roles, now):
            return "optional", ""
        return options.request_access, options.request_prompt

    def wanted(self, user: str, roles: Sequence[str], reason: str) -> AccessRequest:
        """The request as it would be made; its state is NONE.

        :raises AccessDenied: the user may not ask for these roles.
        :raises BadParameter: no roles or too many, or no reason where one is due.
        """
        asker, now = self.asker(user), self._clocks.wall()
        names = asker.wanted(roles, self._roles, now)
        options = combine(role.options for role in asker.roles if role.holds_at(now))
        if options.request_access == "reason" and not reason.strip():
            raise BadParameter(f"{options.request_prompt} {REASON_DUE}".strip())
        return AccessRequest(
            str(UUID(bytes=self._random(16), version=4)),
            user,
            names,
            created_at=now,
            expires_at=min(now + PENDING_REQUEST_S, self._end(names, now)),
            state=RequestState.NONE,
            request_reason=reason,
            system_annotations=asker.annotations(now),
        )

    async def create(self, wanted: AccessRequest, by: str) -> AccessRequest:
        """Have it wait for a decision.

        :raises LimitExceeded: the user, or the cluster, has too many.
        """
        now = self._clocks.wall()
        of_user = [each for each in self.shelf.values.values() if each.user == wanted.user and now < each.expires_at]
        if len(of_user) >= ACCESS_REQUESTS_PER_USER:
            raise LimitExceeded(
                f"The user {wanted.user[:64]!a} has {ACCESS_REQUESTS_PER_USER} access requests; wait until some are"
                " over, or have them removed."
            )
        made = evolve(wanted, state=RequestState.PENDING)
        await self.shelf.create(made)
        about = {"expires": made.expires_at, "annotations": _joined(made.system_annotations)}
        self._tell("create", made, by, {**about, "reason": made.request_reason})
        return made

    def resolved(self, request: AccessRequest, how: Resolution) -> AccessRequest:
        """The request as it will be.

        :raises BadParameter: it is decided already, or is not for some of the roles.
        :raises AccessDenied: the user may not ask for them any more.
        """
        if request.state is not RequestState.PENDING:
            more = "; remove it to end it" if request.state is RequestState.APPROVED else ""
            raise BadParameter(f'access-request "{request.name}" has been {request.state.name.lower()}{more}.')
        if how.state is RequestState.DENIED and not how.roles:
            return evolve(
                request, state=how.state, resolve_reason=how.reason, resolve_annotations=dict(how.annotations)
            )
        if how.state is not RequestState.APPROVED:
            raise BadParameter("A request is approved, maybe for some of its roles, or it is denied.")
        others = sorted({*how.roles} - {*request.roles})
        if others:
            raise BadParameter(f'access-request "{request.name}" is not for the role {others[0][:64]!a}.')
        asker, now = self.asker(request.user), self._clocks.wall()
        roles = asker.wanted(how.roles or request.roles, self._roles, now)
        end = self._end(roles, request.created_at)
        if end <= now:
            raise BadParameter("The roles would be lent until a time that is over: their max_session_ttl is too short.")
        return evolve(
            request,
            state=how.state,
            roles=roles,
            expires_at=end,
            resolve_reason=how.reason,
            resolve_annotations=dict(how.annotations),
        )

    async def resolve(self, before: AccessRequest, how: Resolution, after: AccessRequest, by: str) -> None:
        """Put ``after`` in the place of ``before``, which has to be there still."""
        await self.shelf.replace(after, self.shelf.get(before.name).revision)
        about = {"expires": after.expires_at, "annotations": _joined(after.resolve_annotations)}
        self._tell("update", after, by, {**about, "reason": how.reason, "delegator": how.delegator})

    async def remove(self, name: str, by: str) -> None:
        """Remove one; what it lent is lent no more. :raises NotFound: there is none."""
        self._tell("delete", await self.shelf.remove(self.get(name).value.name), by, {})

    async def forget(self, user: str) -> None:
        """Remove all of a user who is removed."""
        for request in [each for each in self.shelf.values.values() if each.user == user]:
            with suppress(NotFound):
                await self.shelf.remove(request.name)

    def _end(self, names: Sequence[str], start: float) -> float:
        """Until when roles are lent that are asked for at ``start``."""
        longest = min(self._roles[name].options.max_session_ttl_s for name in names)
        return start + min(longest, MAX_PERSONS_CERTIFICATE_S)

    def _tell(self, what: str, request: AccessRequest, by: str, more: Mapping[str, object]) -> None:
        about = {"id": request.name, "user": request.user, "roles": request.roles, "updated_by": by}
        said = {key: value for key, value in more.items() if value}
        self._emit(f"access_request.{what}", {**about, "state": request.state.name, **said})


def _joined(annotations: Annotations) -> dict[str, str]:
    return {name: ", ".join(values) for name, values in annotations.items()}
