"""How a cluster is opened: the storage is read, what is missing there is founded, and the parts are put together."""

from __future__ import annotations

import os
from collections.abc import Callable
from uuid import UUID

from attrs import field, frozen

from teleport_conch.access.directory import Directory
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.feed import Feed
from teleport_conch.auth.hosts.applying import Applications
from teleport_conch.auth.hosts.held_names import HeldNames
from teleport_conch.auth.hosts.hosts import Hosts
from teleport_conch.auth.hosts.inventory import Inventory
from teleport_conch.auth.hosts.joining import Joining
from teleport_conch.auth.hosts.presence import HostKey, PresenceTable
from teleport_conch.auth.hosts.principals import NameRules
from teleport_conch.auth.hosts.renewing import Renewing
from teleport_conch.auth.hosts.sessions import Sessions
from teleport_conch.auth.hosts.token_digests import open_digests
from teleport_conch.auth.hosts.tokens import Tokens
from teleport_conch.auth.people import access_requests, bots, plugin_data, users
from teleport_conch.auth.people.access_requests import AccessRequests
from teleport_conch.auth.people.bot_tokens import BotTokens
from teleport_conch.auth.people.bots import Bots
from teleport_conch.auth.people.certificates import Certificates
from teleport_conch.auth.people.passwords import Hashing, InPool, at_once
from teleport_conch.auth.people.people import People, open_people
from teleport_conch.auth.people.plugin_data import PluginDataOfRequests
from teleport_conch.auth.people.users import Users
from teleport_conch.auth.rules import locks, roles
from teleport_conch.auth.rules.leases import Leases
from teleport_conch.auth.rules.locks import LockList
from teleport_conch.auth.rules.node_list import NodeList
from teleport_conch.auth.rules.roles import Roles
from teleport_conch.auth.state.authorities import open_authorities
from teleport_conch.auth.state.configuration import Configuration, FromFile, open_configuration
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.preference import AuthPreference
from teleport_conch.resources.server import State
from teleport_conch.resources.token import JoinToken
from teleport_conch.storage.backend import IBackend


@frozen
class Founding:
    """What the configuration file says of the cluster.

    :ivar cluster_name: counts at the first start only.
    :ivar given: the keys of ``auth_service`` that are there; what they set wins over what is stored.
    :ivar static_tokens: the tokens that never expire, with plain digests.
    :ivar allow_loopback: whether hosts may be called ``localhost``: auth itself listens on loopback only.
    :ivar own_names: names and addresses of auth itself, in their usual form.
    """

    cluster_name: str
    general: ClusterConfig
    static_tokens: tuple[JoinToken, ...] = ()
    allow_loopback: bool = False
    preference: AuthPreference = field(factory=AuthPreference)
    given: frozenset[str] = frozenset()
    own_names: frozenset[str] = frozenset()


@frozen
class _Hosts:
    """What is known of hosts."""

    registered: Hosts
    presence: PresenceTable
    inventory: Inventory
    feed: Feed


@frozen
class _Rules:
    """Who may do what."""

    roles: Roles
    locks: LockList
    users: Users

    def generation(self) -> tuple[int, ...]:
        """Another one with each change."""
        return self.roles.shelf.generation, self.users.shelf.generation, self.locks.shelf.generation


async def open_cluster(
    clocks: Clocks,
    backend: IBackend,
    founding: Founding,
    emit: Emit,
    random: Callable[[int], bytes] = os.urandom,
    in_pool: InPool = at_once,
) -> Cluster:
    """The cluster that the storage holds; founded there if it holds none.

    :param in_pool: where passwords are hashed, which takes a while.

    :raises StorageError: what is stored cannot be read.
    """
    configuration = await _open_configuration(backend, founding, random)
    name = configuration.name.cluster_name
    trusted = await open_authorities(backend, name, clocks.wall(), random)
    hosts, rules = await _open_hosts(clocks, backend, configuration, emit), await _open_rules(clocks, backend)
    requests = await _open_requests(clocks, backend, rules, emit, random)
    people = await open_people(
        clocks,
        backend,
        rules.users,
        rules.locks,
        trusted,
        Hashing(in_pool, random),
        lambda: configuration.preference.second_factor,
        emit,
        random,
    )
    known_bots = await _open_bots(clocks, backend, rules, people, emit, random)
    tokens = await _open_tokens(clocks, backend, founding, random)
    names = NameRules(name, allow_loopback=founding.allow_loopback)
    applications = Applications(clocks, trusted, hosts.registered, hosts.presence, names)
    return Cluster(
        clocks=clocks,
        backend=backend,
        configuration=configuration,
        authorities=trusted,
        tokens=tokens,
        hosts=hosts.registered,
        presence=hosts.presence,
        inventory=hosts.inventory,
        joining=Joining(clocks, trusted, tokens, hosts.registered, hosts.presence, applications, emit),
        renewing=Renewing(clocks, hosts.registered, applications, emit),
        held_names=HeldNames(name, founding.own_names, hosts.registered, hosts.inventory),
        certificates=Certificates(clocks, trusted, names, rules.roles, emit, random),
        sessions=Sessions(clocks, backend),
        leases=Leases(clocks, backend, random),
        nodes=NodeList(clocks, hosts.inventory, rules.locks, rules.generation),
        feed=hosts.feed,
        roles=rules.roles,
        users=rules.users,
        locks=rules.locks,
        people=people,
        bots=known_bots,
        requests=requests,
        plugin_data=await _open_plugin_data(backend, requests),
    )


async def _open_configuration(backend: IBackend, founding: Founding, random: Callable[[int], bytes]) -> Configuration:
    cluster_id = UUID(bytes=random(16), version=4)
    from_file = FromFile(founding.general, founding.preference, founding.given)
    return await open_configuration(backend, founding.cluster_name, cluster_id, from_file)


async def _open_hosts(clocks: Clocks, backend: IBackend, configuration: Configuration, emit: Emit) -> _Hosts:
    registered, relay = Hosts(backend), _Relay()
    await registered.load()
    presence = PresenceTable(clocks, configuration.general.heartbeat_interval_s, relay.state_changed)
    configuration.shared.on_change(lambda general: presence.expect_beats_every(general.heartbeat_interval_s))
    inventory = Inventory(clocks, backend, registered, presence, relay.touched, emit)
    feed = Feed(backend, inventory)
    relay.connect(inventory, feed)
    await inventory.load()
    return _Hosts(registered, presence, inventory, feed)


async def _open_rules(clocks: Clocks, backend: IBackend) -> _Rules:
    known_roles, known_locks = Roles(roles.open_shelf(backend)), LockList(locks.open_shelf(backend))
    known_users = Users(users.open_shelf(backend), clocks, known_roles)
    await known_roles.shelf.load()
    await known_locks.shelf.load()
    await known_users.shelf.load()
    return _Rules(known_roles, known_locks, known_users)


async def _open_requests(
    clocks: Clocks, backend: IBackend, rules: _Rules, emit: Emit, random: Callable[[int], bytes]
) -> AccessRequests:
    shelf = access_requests.open_shelf(backend)
    requests = AccessRequests(shelf, clocks, rules.users, rules.roles, emit, random)
    await requests.shelf.load()
    return requests


async def _open_plugin_data(backend: IBackend, requests: AccessRequests) -> PluginDataOfRequests:
    kept = PluginDataOfRequests(plugin_data.open_shelf(backend), requests)
    await kept.shelf.load()
    return kept


async def _open_bots(
    clocks: Clocks, backend: IBackend, rules: _Rules, people: People, emit: Emit, random: Callable[[int], bytes]
) -> Bots:
    directory, tokens = Directory(rules.roles, rules.users.shelf.values), BotTokens(clocks, backend, random)
    shelf, certificates = bots.open_shelf(backend), people.certificates
    known = Bots(shelf, tokens, clocks, rules.users, rules.locks, directory, certificates, emit)
    await known.shelf.load()
    return known


async def _open_tokens(clocks: Clocks, backend: IBackend, founding: Founding, random: Callable[[int], bytes]) -> Tokens:
    digests = await open_digests(backend, random)
    return Tokens(clocks, backend, digests, tuple(map(digests.token, founding.static_tokens)), random)


class _Relay:
    """Joins parts that tell each other of changes, and of which one has to be made first."""

    def connect(self, inventory: Inventory, feed: Feed) -> None:
        self._inventory = inventory
        self._feed = feed

    def state_changed(self, key: HostKey, old: State, new: State) -> None:
        self._inventory.state_changed(key, old, new)

    def touched(self, key: HostKey) -> None:
        self._feed.touched(key)
