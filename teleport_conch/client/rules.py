"""The calls about who may do what: the stored resources of a kind, and the kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar
from urllib.parse import quote

from attrs import frozen

from teleport_conch.access.roles import Role
from teleport_conch.client.answers import as_object, items
from teleport_conch.client.exchange import Call
from teleport_conch.client.tokens import TokenDocuments
from teleport_conch.client.transport import Transport
from teleport_conch.errors import AlreadyExists
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.preference import AuthPreference
from teleport_conch.resources.user import User

MAX_PLANNED_ROWS = 1000
"""Logins gained, and logins lost, that a plan lists; all are counted."""

_Value = TypeVar("_Value")


@frozen
class Collection(Generic[_Value]):
    """The resources of one kind.

    A *document* is the resource's JSON as auth answers it, with its revision as ``metadata.id``. One that is sent back
    with it replaces that revision only.

    :ivar path: the route of the list.
    :ivar read: from JSON.
    """

    transport: Transport
    path: str
    read: Callable[[object], _Value]

    async def all(self) -> tuple[_Value, ...]:
        return items(await self.transport.call(Call("GET", self.path)), self.read)

    async def documents(self) -> tuple[Mapping[str, object], ...]:
        return items(await self.transport.call(Call("GET", self.path)), as_object)

    async def get(self, name: str) -> _Value:
        """:raises NotFound: there is none."""
        return self.read(await self.document(name))

    async def document(self, name: str) -> Mapping[str, object]:
        """:raises NotFound: there is none."""
        return as_object(await self.transport.call(Call("GET", self._path(name))))

    async def create(self, document: Mapping[str, object], force: bool = False) -> Mapping[str, object]:
        """A new one.

        :param force: also if nobody would be left who may change roles and users, as with a lock.
        :raises AlreadyExists: there is one of that name.
        """
        call = Call("POST", self.path, _forced(force), body=document, repeatable=False)
        return as_object(await self.transport.call(call))

    async def replace(self, name: str, document: Mapping[str, object], force: bool = False) -> Mapping[str, object]:
        """One in place of what there is.

        :param force: also if nobody would be left who may change roles and users.
        :raises NotFound: there is none. :raises CompareFailed: it was changed since the document was read.
        """
        call = Call("PUT", self._path(name), _forced(force), body=document, repeatable=False)
        return as_object(await self.transport.call(call))

    async def remove(self, name: str, revision: str = "", force: bool = False) -> None:
        """:param revision: if it is still that; empty for whatever it is. It raises what :meth:`replace` raises."""
        query = (*((("id", revision),) if revision else ()), *_forced(force))
        await self.transport.call(Call("DELETE", self._path(name), query))

    def _path(self, name: str) -> str:
        return f"{self.path}/{quote(name, safe='')}"


@frozen
class Single(Generic[_Value]):
    """A resource of which there is always one, with the calls that :class:`Collection` has; names say nothing here."""

    transport: Transport
    kind: str
    path: str
    read: Callable[[object], _Value]

    async def get(self, name: str = "") -> _Value:
        return self.read(await self.document())

    async def document(self, name: str = "") -> Mapping[str, object]:
        return as_object(await self.transport.call(Call("GET", self.path)))

    async def create(self, document: Mapping[str, object], force: bool = False) -> Mapping[str, object]:
        """:raises AlreadyExists: in any case."""
        raise AlreadyExists(f"There is always one {self.kind}.")

    async def replace(self, name: str, document: Mapping[str, object], force: bool = False) -> Mapping[str, object]:
        """Change it.

        :raises CompareFailed: it was changed since the document was read.
        :raises BadParameter: the file of the auth server sets what would change.
        """
        return as_object(await self.transport.call(Call("PUT", self.path, body=document, repeatable=False)))


def _forced(force: bool) -> tuple[tuple[str, str], ...]:
    return (("force", "1"),) if force else ()


@frozen
class Rules:
    """Roles, and what else says who may do what. Errors are those of :class:`~teleport_conch.client.api.AuthClient`."""

    transport: Transport

    @property
    def roles(self) -> Collection[Role]:
        """Built-in ones are among them; they can be read only."""
        return Collection(self.transport, "/v1/roles", Role.from_json)

    @property
    def users(self) -> Collection[User]:
        """People as resources; :class:`~teleport_conch.client.people.People` has what else there is."""
        return Collection(self.transport, "/v1/users", User.from_json)

    @property
    def locks(self) -> Collection[Lock]:
        """Those in force, and maybe some that have just expired."""
        return Collection(self.transport, "/v1/locks", Lock.from_json)

    @property
    def tokens(self) -> TokenDocuments:
        """Those with which hosts join."""
        return TokenDocuments(self.transport)

    @property
    def configuration(self) -> Single[ClusterConfig]:
        """What nodes and proxies are told about how to behave."""
        return Single(self.transport, "cluster_config", "/v1/configuration", ClusterConfig.from_json)

    @property
    def preference(self) -> Single[AuthPreference]:
        """How people log in."""
        path = "/v1/authentication/preference"
        return Single(self.transport, "cluster_auth_preference", path, AuthPreference.from_json)

    # Questions about access.

    async def why(self, question: Mapping[str, object]) -> Mapping[str, object]:
        """The trace of a login, with ``node``, ``trace`` and ``lines``.

        :param question: ``login`` and ``node``, ``user`` or ``certificate``, and maybe ``address``.
        :raises NotFound: there is no such user or node.
        """
        return as_object(await self.transport.call(Call("POST", "/v1/why", body=question)))

    async def denial(self, reference: str) -> Mapping[str, object]:
        """The ``event`` and the ``trace`` of a refusal. :raises NotFound: the log knows no such reference."""
        return as_object(await self.transport.call(Call("GET", f"/v1/denials/{quote(reference, safe='')}")))

    async def plan(
        self,
        resources: Sequence[Mapping[str, object]],
        removed: Sequence[str] = (),
        told: Callable[[int, int], None] = lambda done, of: None,
    ) -> Mapping[str, object]:
        """Who would gain and lose which login on which node: ``gained``, ``lost`` and ``counts``.

        :param resources: roles and users as they are to be. :param removed: others, as ``role/name`` or ``user/name``.
        :param told: hears how many users were looked at, of how many, while it is worked out.
        """
        body: dict[str, object] = {"resources": list(resources), "removed": list(removed)}
        lists: dict[str, list[object]] = {"gained": [], "lost": []}
        counts, next_ = {"users": 0, "gained": 0, "lost": 0}, ""
        while True:
            answer = Fields(await self.transport.call(Call("POST", "/v1/plan", body={**body, "next": next_})), "plan")
            counted = answer.child("counts")
            for key in counts:
                counts[key] += int(counted.number(key, default=0.0))
            for key, rows in lists.items():
                found = answer.children(key, MAX_PLANNED_ROWS)
                rows.extend(each.raw() for each in found[: MAX_PLANNED_ROWS - len(rows)])
            told(counts["users"], int(counted.number("of", default=0.0)))
            next_ = answer.text("next", default="")
            if not next_:
                return {**lists, "counts": counts}

    # Leases of a host, of how many one user may have.

    async def take_lease(self, kind: str, user: str, most: int, ttl_s: float) -> str:
        """The id of a new lease. :raises LimitExceeded: the user has ``most`` already."""
        body = {"kind": kind, "user": user, "max": most, "ttl": ttl_s}
        answer = await self.transport.call(Call("POST", "/v1/leases", body=body, repeatable=False))
        return Fields(answer, "answer").text("lease")

    async def renew_lease(self, lease_id: str, ttl_s: float) -> None:
        """:raises NotFound: it has ended."""
        await self.transport.call(Call("PUT", f"/v1/leases/{quote(lease_id, safe='')}", body={"ttl": ttl_s}))

    async def give_back_lease(self, lease_id: str) -> None:
        """It may have ended already."""
        await self.transport.call(Call("DELETE", f"/v1/leases/{quote(lease_id, safe='')}"))
