"""The command line of ``tctl``: every command with its flags and its help, and the name of what it runs.

Nothing here is slow to import, so that ``--help`` and mistakes in a command line are answered at once.
"""

from __future__ import annotations

from argparse import SUPPRESS, Namespace
from collections.abc import Mapping
from pathlib import Path

from teleport_conch.cli import arguments as parsing
from teleport_conch.cli import tctl_auth, tctl_people, tctl_recordings, tctl_requests
from teleport_conch.cli.arguments import Parser, Parsers, leaf, unbuilt
from teleport_conch.cli.listing_options import at_most, between
from teleport_conch.cli.references import (
    EDITABLE,
    KINDS,
    REMOVABLE,
    SINGLE,
    Reference,
    parse_reference,
    parse_references,
)

#: How many events a search answers, unless it asks for another number.
EVENTS = 100

#: Commands that Teleport has and that are missing here, with what there is in their place.
UNBUILT: Mapping[str, str] = {
    "top": "there is no diagnostics service.",
}

_DESCRIPTION = """\
Administers a cluster. On the auth host it works with the identity that the auth service
leaves there; from elsewhere with an identity file, and the address of the auth server.
"""
_EPILOG = """\
examples:
  tctl nodes add --roles=node --ttl=30m
  tctl nodes ls
  tctl auth sign --user=alice --logins=root --format=openssh --out=alice
  tctl auth sign --user=carol --logins=root --roles=admin --out=carol.identity
  tctl -i carol.identity --auth-server=auth.example.com:3025 status
"""


def tctl_parser() -> Parser:
    """The parser of everything.

    What it answers has ``run``, the name of a coroutine below :mod:`teleport_conch.cli.commands`; None stands for
    ``version``, unless ``unbuilt`` says that there is no such command yet. ``offline`` says that the command can do
    with the storage of an auth service that does not run, ``local`` that it needs none, ``alone`` that it needs nothing
    but its flags, ``prepare`` names what is called before, and ``check`` says which flags do not go together.
    """
    parser = Parser(prog="tctl", description=_DESCRIPTION, epilog=_EPILOG)
    parsing.global_options(parser)
    parser.set_defaults(
        run=None, alone=False, local=False, offline=False, prepare=None, check=None, format="text", unbuilt=""
    )
    found = parsing.commands(parser)
    status = leaf(found, "status", "Show the cluster, its authorities, and the pin for hosts that join.")
    status.set_defaults(run="status.status", offline=True)
    parsing.format_option(status)
    _nodes(parsing.commands(found.add_parser("nodes", help="let nodes in, list them, remove them")))
    _tokens(parsing.commands(found.add_parser("tokens", help="make, list and remove join tokens")))
    tctl_people.users(parsing.commands(found.add_parser("users", help="make, list, change and remove people")))
    tctl_people.bots(parsing.commands(found.add_parser("bots", help="make, list and remove robots")))
    asking = found.add_parser("requests", aliases=("request",), help="decide who gets roles for a while")
    tctl_requests.requests(parsing.commands(asking))
    tctl_auth.auth(parsing.commands(found.add_parser("auth", help="export the authorities, sign certificates")))
    _events(parsing.commands(found.add_parser("events", help="search the log of events")))
    _sessions(parsing.commands(found.add_parser("sessions", help="list the sessions that run now")))
    recordings = found.add_parser("recordings", help="list, check, export and remove recorded sessions")
    tctl_recordings.recordings(parsing.commands(recordings))
    _resources(found)
    _writing(found)
    _break_glass(found)
    _why(found)
    _backup(found)
    leaf(found, "version", "Print the version of this program.")
    for name, why in UNBUILT.items():
        unbuilt(found, name, why)
    return parser


def _nodes(parsers: Parsers) -> None:
    _nodes_add(parsers)
    listing = leaf(parsers, "ls", "List the nodes of the cluster.", example="tctl nodes ls --format=json")
    listing.set_defaults(run="nodes.listing")
    parsing.format_option(listing)
    text = "Remove a node, and refuse it until it joins again with a token."
    removal = leaf(parsers, "rm", text, aliases=("del",), example="tctl nodes rm web1")
    removal.set_defaults(run="nodes.remove")
    which = removal.add_mutually_exclusive_group(required=True)
    which.add_argument("node", nargs="?", metavar="NODE", help="nodename or host UUID")
    which.add_argument("--offline", dest="all_offline", action="store_true", help="every node that is offline")


def _nodes_add(parsers: Parsers) -> None:
    text = "Make a join token, and print what to start on the new host."
    adding = leaf(parsers, "add", text, example="tctl nodes add --ttl=1h")
    adding.set_defaults(run="nodes.invite")
    roles = "what it lets in: a comma list of node and proxy (node)"
    adding.add_argument("--roles", type=parsing.join_roles, default=("node",), metavar="ROLES", help=roles)
    adding.add_argument("--ttl", type=parsing.time_to_live, default=1800.0, metavar="30m", help="how long it lives")
    adding.add_argument("--token", default="", help="a value of your own in place of a random one")
    bound = adding.add_argument_group("what a host that uses the token is bound to")
    bound.add_argument("--name", default="", help="its nodename")
    principals = "other names and addresses for it"
    bound.add_argument("--principals", type=parsing.names, default=(), metavar="A,B", help=principals)
    bound.add_argument("--labels", type=parsing.labels, default={}, metavar="K=V,...", help="labels it has")
    parsing.format_option(adding)


def _tokens(parsers: Parsers) -> None:
    adding = leaf(parsers, "add", "Make a join token.", example="tctl tokens add --type=node,proxy --ttl=2h")
    adding.set_defaults(run="tokens.add")
    roles = "what it lets in: a comma list of node and proxy"
    adding.add_argument("--type", type=parsing.join_roles, required=True, metavar="ROLES", help=roles)
    adding.add_argument("--value", default="", help="a value of your own in place of a random one")
    adding.add_argument("--ttl", type=parsing.time_to_live, default=3600.0, metavar="1h", help="how long it lives")
    parsing.format_option(adding)
    listing = leaf(parsers, "ls", "List the tokens that can be used now, by their ids.")
    listing.set_defaults(run="tokens.listing")
    parsing.format_option(listing)
    removal = leaf(parsers, "rm", "Remove a token; hosts that joined with it stay.", aliases=("del",))
    removal.set_defaults(run="tokens.remove")
    removal.add_argument("token", metavar="TOKEN", help="the token, or its id in 'tctl tokens ls'")


def _events(parsers: Parsers) -> None:
    example = "tctl events ls --from=2h --type=auth,session.start"
    listing = leaf(parsers, "ls", "List events, the newest last.", example=example)
    listing.set_defaults(run="events.events")
    between(listing)
    names = "names of events, as session.start,exec"
    listing.add_argument("--type", type=parsing.names, default=(), metavar="NAMES", help=names)
    at_most(listing, EVENTS, "events")
    parsing.format_option(listing)


def _sessions(parsers: Parsers) -> None:
    active = leaf(parsers, "ls", "List the sessions that run now: who is on which node, as whom, since when.")
    active.set_defaults(run="events.sessions")
    parsing.format_option(active)


def _resources(parsers: Parsers) -> None:
    example = "tctl get nodes,cluster_config --format=json"
    getting = leaf(parsers, "get", "Print resources of the cluster.", example=example)
    getting.set_defaults(run="resources.get", check=_check_get)
    kinds = f"{', '.join(KINDS)}; all, for what 'tctl create' makes again elsewhere"
    getting.add_argument("resources", type=parse_references, metavar="KIND[/NAME][,...]", help=kinds)
    getting.add_argument("--with-secrets", action="store_true", help=SUPPRESS)
    parsing.format_option(getting, "yaml")
    removal = leaf(parsers, "rm", "Remove a resource.", aliases=("del",), example="tctl rm token/0123456789ab")
    removal.set_defaults(run="resources.remove", check=_check_removal)
    removal.add_argument("resource", type=parse_reference, metavar="KIND/NAME", help=", ".join(REMOVABLE))
    forced = "also a user without whom nobody may change roles and users"
    removal.add_argument("-f", "--force", action="store_true", help=forced)


def _check_get(arguments: Namespace) -> str | None:
    if arguments.with_secrets:
        return (
            "--with-secrets is refused: auth gives out no private keys, passwords and tokens. 'tctl backup FILE' on the"
            " auth host writes all of them, encrypted."
        )
    return None


def _check_removal(arguments: Namespace) -> str | None:
    reference: Reference = arguments.resource
    if reference.kind not in REMOVABLE:
        return f"A {reference.kind} cannot be removed; 'tctl rm' removes {', '.join(REMOVABLE)}."
    return None if reference.name else f"Say which one to remove: tctl rm {reference.kind}/NAME"


def _writing(parsers: Parsers) -> None:
    creating = leaf(parsers, "create", "Make resources of a file.", example="tctl create -f roles.yaml")
    creating.set_defaults(run="writing.create")
    forcing = "in place of those that are there; twice: also if nobody is left then who may change roles and users"
    creating.add_argument("-f", "--force", action="count", default=0, help=forcing)
    planning = "change nothing, and print who would gain and lose which login on which node"
    creating.add_argument("--plan", action="store_true", help=planning)
    parsing.format_option(creating)
    creating.add_argument("file", nargs="?", type=Path, metavar="FILE", help="YAML documents (standard input)")
    editing = leaf(parsers, "edit", "Change a resource in an editor.", example="tctl edit role/dev")
    editing.set_defaults(run="writing.edit", check=_check_edit)
    parsing.force_option(editing)
    editing.add_argument("resource", type=parse_reference, metavar="KIND/NAME", help=", ".join(EDITABLE))
    text = "Refuse new connections, and cut those that are open: of a user, a login, a node or a role."
    locking = leaf(parsers, "lock", text, example="tctl lock --user=mallory --ttl=1h --message='call the desk'")
    locking.set_defaults(run="locks.lock", check=_check_lock)
    for target, what in (("user", "a person"), ("login", "an account of nodes"), ("node", "nodename or host UUID")):
        locking.add_argument(f"--{target}", default="", metavar="NAME", help=what)
    locking.add_argument("--role", default="", metavar="NAME", help="whoever has this role")
    locking.add_argument("--ttl", type=parsing.time_to_live, default=0.0, metavar="1h", help="for how long (for good)")
    locking.add_argument("--message", default="", metavar="TEXT", help="what people read who are shut out")
    parsing.force_option(locking)
    parsing.format_option(locking)


def _check_edit(arguments: Namespace) -> str | None:
    reference: Reference = arguments.resource
    if reference.kind not in EDITABLE:
        return f"A {reference.kind} cannot be edited; 'tctl edit' knows {', '.join(EDITABLE)}."
    if reference.kind in SINGLE and reference.name in ("", SINGLE[reference.kind]):
        arguments.resource = Reference(reference.kind, SINGLE[reference.kind])
        return None
    return None if reference.name else f"Say which one to edit: tctl edit {reference.kind}/NAME"


def _check_lock(arguments: Namespace) -> str | None:
    if not (arguments.user or arguments.login or arguments.node or arguments.role):
        return "Say what to lock: --user, --login, --node or --role; several of them all have to match."
    return None


def _break_glass(parsers: Parsers) -> None:
    text = "Make a sealed key that nodes take only while they cannot reach the auth server."
    example = "tctl break-glass --name=ops --logins=root --from=10.0.0.0/8 --ttl=90d ops-emergency"
    sealing = leaf(parsers, "break-glass", text, example=example)
    sealing.set_defaults(run="break_glass.seal", prepare="passphrases.choose", offline=True)
    called = "what it is called in events"
    sealing.add_argument("--name", required=True, metavar="NAME", help=called)
    logins = "accounts that it is for"
    sealing.add_argument("--logins", type=parsing.names, required=True, metavar="A,B", help=logins)
    addresses = "addresses and networks from which it may be used"
    sealing.add_argument(
        "--from", dest="addresses", type=parsing.names, required=True, metavar="CIDR,...", help=addresses
    )
    ttl = "how long it is good, to 366 days (90d)"
    sealing.add_argument("--ttl", type=parsing.time_to_live, default=0.0, metavar="2160h", help=ttl)
    where = "holds the passphrase, which is asked for otherwise"
    sealing.add_argument("--passphrase-file", type=Path, metavar="FILE", help=where)
    sealing.add_argument(
        "file", type=Path, metavar="FILE", help="the key; FILE-cert.pub and FILE.known_hosts beside it"
    )


def _why(parsers: Parsers) -> None:
    text = "Say whether somebody may log in to a node, and every reason for it; or why somebody was refused."
    asking = leaf(parsers, "why", text, example="tctl why alice root@web1")
    asking.set_defaults(run="why.why", check=_check_why)
    asking.add_argument("words", nargs="*", metavar="[USER] LOGIN@NODE", help="who, as what, where")
    asking.add_argument("--cert", type=Path, metavar="FILE", help="a certificate in place of a user")
    asking.add_argument("--address", default="", metavar="IP", help="from where, for certificates that say from where")
    asking.add_argument("--ref", default="", metavar="REF", help="the reference that a refused person was told")
    parsing.format_option(asking)


def _check_why(arguments: Namespace) -> str | None:
    words, wanted = arguments.words, 1 if arguments.cert else 2
    if arguments.ref:
        return "A reference is asked for alone: tctl why --ref 7k2m9xqd" if words or arguments.cert else None
    login, _, node = words[-1].rpartition("@") if len(words) == wanted else ("", "", "")
    if not login or not node:
        return "Say who, as what and where: tctl why alice root@web1, or tctl why --cert FILE root@web1"
    return None


def _backup(parsers: Parsers) -> None:
    text = "Write the state of the cluster to an encrypted file, beside a running auth service or without one."
    backup = leaf(parsers, "backup", text, example="tctl backup cluster.backup")
    backup.set_defaults(run="backup.backup", prepare="passphrases.choose", local=True)
    text = "Make the empty data_dir of this host that of the auth server in a backup."
    restore = leaf(parsers, "restore", text, example="tctl -c /etc/teleport.yaml restore cluster.backup")
    restore.set_defaults(run="backup.restore", prepare="passphrases.ask", local=True)
    for parser in (backup, restore):
        parser.add_argument("file", type=Path, metavar="FILE")
        where = "holds the passphrase, which is asked for otherwise"
        parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help=where)
