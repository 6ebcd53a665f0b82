"""What an access request lends: its roles, to the person who asked, while it is approved and not over."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from attrs import evolve

from teleport_conch.access.roles import Role
from teleport_conch.access.shown import shown
from teleport_conch.resources.access_request import AccessRequest, RequestState


def why_not(request_id: str, found: AccessRequest | None, user: str, since: float, now: float) -> str:
    """Why a request does not count for ``user``; empty where it does. Whose another's is does not show.

    :param found: the request of this id, None where there is none.
    :param since: when the user was made; what a former one of the name asked for does not count.
    """
    called = f'access-request "{shown(request_id)}"'
    if found is None or found.user != user or found.created_at < since:
        return f"{called} is not there: it was removed, or is over"
    if found.state is RequestState.DENIED:
        return f"{called} has been denied"
    if found.state is not RequestState.APPROVED:
        return f"{called} is awaiting approval"
    return "" if now < found.expires_at else f"{called} is expired"


def lent(requests: Iterable[AccessRequest], known: Mapping[str, Role], having: Collection[str]) -> tuple[Role, ...]:
    """The roles of requests that count, each as long as its request lasts; of several, the one that lasts longest.

    :param known: all roles by name. One that is gone is not lent any more.
    :param having: the roles that the person has anyway.
    """
    found: dict[str, Role] = {}
    for request in sorted(requests, key=lambda each: (each.expires_at, each.name)):
        for role in _lent(request, known, having):
            found[role.name] = role
    return tuple(found.values())


def _lent(request: AccessRequest, known: Mapping[str, Role], having: Collection[str]) -> Iterator[Role]:
    for name in request.roles:
        if name in known and name not in having:
            role = known[name]
            end = request.expires_at if role.expires_at is None else min(role.expires_at, request.expires_at)
            yield evolve(role, expires_at=end, request=request.name)
