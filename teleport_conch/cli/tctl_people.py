"""The part of ``tctl``'s command line that is about people and robots."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping

from teleport_conch.cli import arguments as parsing
from teleport_conch.cli.arguments import Parser, Parsers, leaf
from teleport_conch.durations import format_duration

INVITE_TTL_S = 3600.0
RESET_TTL_S = 8 * 3600.0
SHORTEST_LINK_S = 60.0
LONGEST_INVITE_S = 48 * 3600.0
LONGEST_RESET_S = 24 * 3600.0
BOT_TOKEN_TTL_S = 3600.0


def users(parsers: Parsers) -> None:
    """``tctl users``."""
    _add(parsers)
    listing = leaf(parsers, "ls", "List the users of the cluster.", example="tctl users ls --format=json")
    listing.set_defaults(run="users.listing")
    parsing.format_option(listing)
    _update(parsers)
    text = "Make password and second factor of a user worthless, and print a link to set others."
    reset = leaf(parsers, "reset", text, example="tctl users reset alice")
    reset.set_defaults(run="users.reset")
    reset.add_argument("user", metavar="NAME")
    _link_options(reset, RESET_TTL_S, "8h", LONGEST_RESET_S)
    unlock = leaf(parsers, "unlock", "Let a user log in again who is locked out after failed logins.")
    unlock.set_defaults(run="users.unlock")
    unlock.add_argument("user", metavar="NAME")
    text = "Remove users, and refuse from now on every certificate that they have."
    removal = leaf(parsers, "rm", text, aliases=("del",), example="tctl users rm alice,bob")
    removal.set_defaults(run="users.remove")
    removal.add_argument("users", type=parsing.names, metavar="NAME[,NAME...]")
    parsing.force_option(removal)


def bots(parsers: Parsers) -> None:
    """``tctl bots``."""
    text = "Make a robot, and print the token with which it gets its first certificates."
    adding = leaf(parsers, "add", text, example="tctl bots add ci --roles=deploy --logins=deploy")
    adding.set_defaults(run="bots.add")
    adding.add_argument("bot", metavar="NAME")
    roles = "what the robot may do: roles with commas between"
    adding.add_argument("--roles", type=parsing.names, required=True, metavar="A,B", help=roles)
    logins = "accounts that {{internal.logins}} stands for in roles"
    adding.add_argument("--logins", type=parsing.names, default=(), metavar="A,B", help=logins)
    life = "how long the token is good"
    adding.add_argument("--ttl", type=parsing.time_to_live, default=BOT_TOKEN_TTL_S, metavar="1h", help=life)
    parsing.format_option(adding)
    listing = leaf(parsers, "ls", "List the robots, and when and where each renewed its certificates.")
    listing.set_defaults(run="bots.listing")
    parsing.format_option(listing)
    text = "Remove robots, and refuse from now on every certificate that they have."
    removal = leaf(parsers, "rm", text, aliases=("del",), example="tctl bots rm ci")
    removal.set_defaults(run="bots.remove")
    removal.add_argument("bots", type=parsing.names, metavar="NAME[,NAME...]")


def _add(parsers: Parsers) -> None:
    text = "Make a user, and print the link by which they set password and second factor."
    adding = leaf(parsers, "add", text, example="tctl users add alice --roles=access --logins=alice,ubuntu")
    adding.set_defaults(run="users.add")
    adding.add_argument("user", metavar="NAME")
    adding.add_argument("account_logins", nargs="?", type=parsing.names, metavar="LOGINS", help="as --logins")
    roles = "what the user may do: roles with commas between (access)"
    adding.add_argument("--roles", type=parsing.names, default=("access",), metavar="A,B", help=roles)
    logins = "accounts that {{internal.logins}} stands for in roles (the name of the user)"
    adding.add_argument("--logins", type=parsing.names, default=(), metavar="A,B", help=logins)
    traits = "what else roles may ask for; a name may be there several times"
    adding.add_argument("--traits", type=_traits, default={}, metavar="K=V,...", help=traits)
    for name in ("users", "groups"):
        kept = f"the trait kubernetes_{name}; nothing here goes by it"
        adding.add_argument(f"--k8s-{name}", type=parsing.names, default=(), metavar="A,B", help=kept)
    _link_options(adding, INVITE_TTL_S, "1h", LONGEST_INVITE_S)


def _update(parsers: Parsers) -> None:
    text = "Change roles, logins or traits of a user."
    update = leaf(parsers, "update", text, example="tctl users update alice --set-roles=access,auditor")
    update.set_defaults(run="users.update", check=_check_update)
    update.add_argument("user", metavar="NAME")
    update.add_argument("--set-roles", type=parsing.names, metavar="A,B", help="these in place of all roles")
    update.add_argument("--set-logins", type=parsing.names, metavar="A,B", help="these in place of all logins")
    traits = "these in place of all traits but the logins"
    update.add_argument("--set-traits", type=_traits, metavar="K=V,...", help=traits)
    parsing.force_option(update)


def _check_update(arguments: object) -> str | None:
    given = (getattr(arguments, name) for name in ("set_roles", "set_logins", "set_traits"))
    if all(each is None for each in given):
        return "Say what is to change: --set-roles, --set-logins or --set-traits."
    return None


def _link_options(parser: Parser, ttl_s: float, shown: str, longest_s: float) -> None:
    text = f"how long the link lives ({shown}; at most {format_duration(longest_s)})"
    life = parsing.lasting(SHORTEST_LINK_S, longest_s)
    parser.add_argument("--ttl", type=life, default=ttl_s, metavar=shown, help=text)
    parsing.format_option(parser)


def _traits(text: str) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not (name.strip() and equals and value.strip()) or name.strip() == "logins":
            raise ArgumentTypeError(f"'{part[:64]}' is no trait: write name=value; logins have a flag of their own")
        found[name.strip()] = (*found.get(name.strip(), ()), value.strip())
    return found
