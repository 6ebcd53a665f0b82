"""The part of ``tctl``'s command line that is about access requests."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping

from teleport_conch.cli import arguments as parsing
from teleport_conch.cli.arguments import Parser, Parsers, leaf


def requests(parsers: Parsers) -> None:
    """``tctl requests``."""
    listing = leaf(parsers, "ls", "List who asks for which roles, and what became of it.")
    listing.set_defaults(run="requests.listing")
    parsing.format_option(listing)
    _approve(parsers)
    text = "Deny requests, for good."
    denial = leaf(parsers, "deny", text, example="tctl requests deny ID --reason='not today'")
    denial.set_defaults(run="requests.deny")
    _decision_options(denial)
    _create(parsers)
    text = "Remove requests; what they lent is lent no more."
    removal = leaf(parsers, "rm", text, aliases=("del",), example="tctl requests rm ID")
    removal.set_defaults(run="requests.remove")
    _ids(removal)


def _approve(parsers: Parsers) -> None:
    text = "Approve requests: lend the roles that they ask for."
    approval = leaf(parsers, "approve", text, example="tctl requests approve ID --reason='ticket 17'")
    approval.set_defaults(run="requests.approve")
    _decision_options(approval)
    roles = "only these of the roles"
    approval.add_argument("--roles", type=parsing.names, default=(), metavar="A,B", help=roles)


def _create(parsers: Parsers) -> None:
    text = "Ask for roles in the name of a user."
    creation = leaf(parsers, "create", text, example="tctl requests create alice --roles=dba")
    creation.set_defaults(run="requests.create")
    creation.add_argument("user", metavar="NAME")
    roles = "roles with commas between; * for all that the user may ask for"
    creation.add_argument("--roles", type=parsing.names, required=True, metavar="A,B", help=roles)
    creation.add_argument("--reason", default="", metavar="TEXT", help="what for")
    creation.add_argument("--dry-run", action="store_true", help="print what would be asked, and ask nothing")
    parsing.format_option(creation)


def _decision_options(parser: Parser) -> None:
    _ids(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the person who asked")
    parser.add_argument("--delegator", default="", metavar="NAME", help="on whose behalf, for the log of events")
    annotations = "what else is kept with the decision; a name may be there several times"
    parser.add_argument("--annotations", type=_annotations, default={}, metavar="K=V,...", help=annotations)


def _ids(parser: Parser) -> None:
    parser.add_argument("ids", type=parsing.names, metavar="ID[,ID...]", help="as 'tctl requests ls' lists them")


def _annotations(text: str) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise ArgumentTypeError(f"'{part[:64]}' is no annotation: write name=value")
        found[name.strip()] = (*found.get(name.strip(), ()), value.strip())
    return found
