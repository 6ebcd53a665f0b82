"""What all parsers of command lines have in common: errors as sentences, global flags anywhere, kinds of values."""

from __future__ import annotations

import argparse
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar, cast

from teleport_conch.cli.colour import RED, painted
from teleport_conch.cli.edge import flush
from teleport_conch.config.addresses import parse_address
from teleport_conch.config.flags import parse_labels
from teleport_conch.config.tokens import JOIN_ROLES
from teleport_conch.durations import format_duration, parse_duration

USAGE_EXIT = 2
FORMATS = ("text", "json", "yaml")

_Value = TypeVar("_Value")


class Parser(argparse.ArgumentParser):
    """A parser that keeps the lines of its descriptions, takes no abbreviations, and says what is wrong plainly."""

    def __init__(self, **settings: object) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)  # type: ignore[arg-type]  # argparse makes the sub-parsers too

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """What follows ``--help``, too."""
        flush()
        super().exit(status, message)

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        sys.stderr.write(f"{self.format_usage()}{painted('error:', RED, sys.stderr)} {message}\n")
        sys.exit(USAGE_EXIT)


class Parsers(Protocol):
    """Where a command adds its parser: what ``add_subparsers`` answers."""

    def add_parser(self, name: str, **settings: object) -> Parser: ...


def global_options(parser: argparse.ArgumentParser, repeated: bool = False) -> None:
    """Add the flags that go with every command.

    :param repeated: the flags may stand behind the command, too; there they count where they are given.
    """

    def default(value: object) -> object:
        return argparse.SUPPRESS if repeated else value

    group = parser.add_argument_group("flags of all commands")
    group.add_argument("-d", "--debug", action="store_true", default=default(False), help="log to stderr; tracebacks")
    group.add_argument(
        "-c", "--config", type=Path, metavar="FILE", default=default(None), help="configuration (/etc/teleport.yaml)"
    )
    group.add_argument(
        "--auth-server",
        action="append",
        type=auth_server,
        metavar="ADDR",
        default=default(None),
        help="address of the auth server (127.0.0.1:3025); may be given several times",
    )
    group.add_argument(
        "-i", "--identity", type=Path, metavar="FILE", default=default(None), help="identity file, to work remotely"
    )
    group.add_argument("--insecure", action="store_true", default=default(False), help=argparse.SUPPRESS)


def force_option(parser: Parser) -> None:
    """For what may leave the cluster without an administrator."""
    text = "even if nobody is left then who may change roles and users"
    parser.add_argument("-f", "--force", action="store_true", help=text)


def format_option(parser: argparse.ArgumentParser, default: str = "text") -> None:
    parser.add_argument("--format", choices=FORMATS, default=default, help=f"form of the output ({default})")


def commands(parser: argparse.ArgumentParser) -> Parsers:
    """The sub-commands of a parser. Without one of them, its help is shown."""
    parser.set_defaults(needs=parser)
    # argparse has no public name for what it answers; the parsers that this makes are of the same class as its own.
    return cast(Parsers, parser.add_subparsers(title="commands", metavar="COMMAND", prog=parser.prog))


def leaf(parsers: Parsers, name: str, text: str, *, aliases: tuple[str, ...] = (), example: str = "") -> Parser:
    """A command that does something, with the global flags.

    :param text: a sentence; it stands in the list of commands as well.
    """
    epilog = f"example:\n  {example}" if example else None
    made = parsers.add_parser(name, help=text[0].lower() + text[1:].rstrip("."), aliases=aliases, epilog=epilog)
    made.description = text
    global_options(made, repeated=True)
    made.set_defaults(needs=None)
    return made


def unbuilt(parsers: Parsers, name: str, why: str) -> None:
    """A command of Teleport's that is missing here: it is understood whatever stands behind it, and not listed.

    :param why: what there is in its place, as the end of a sentence.
    """
    made = parsers.add_parser(name, add_help=False, prefix_chars="\0")  # no word has it, so that none is a flag
    made.add_argument("words", nargs="*")
    made.set_defaults(needs=None, unbuilt=f"'{made.prog}' is not built yet: {why}")


def _checked(parse: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """A type for argparse, whose refusals are the sentences of ``ValueError``."""

    def convert(text: str) -> _Value:
        try:
            return parse(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return convert


def _names(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(found):
        raise ValueError(f"'{text[:64]}' is not a list of names with commas between them")
    return found


def _positive(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError("a time to live is longer than nothing: write it like 30m or 12h")
    return seconds


def lasting(shortest_s: float, longest_s: float) -> Callable[[str], float]:
    """A time to live within these bounds, in seconds: what auth would refuse is refused before anything is made."""

    def read(text: str) -> float:
        seconds = _positive(text)
        if not shortest_s <= seconds <= longest_s:
            bounds = f"{format_duration(shortest_s)} to {format_duration(longest_s)}"
            raise ValueError(f"it lasts for {bounds}, and not for {text[:32]}")
        return seconds

    return _checked(read)


def _join_roles(text: str) -> tuple[str, ...]:
    found = tuple(name.lower() for name in _names(text))
    if "trusted_cluster" in found:
        raise ValueError("trusted_cluster is not built yet: clusters do not trust one another")
    for name in found:
        if name not in JOIN_ROLES:
            raise ValueError(f"a join token is for {', '.join(JOIN_ROLES)}, and not '{name[:32]}'")
    return found


def _static_labels(text: str) -> Mapping[str, str]:
    labels, commands_ = parse_labels(text)
    if commands_:
        raise ValueError(f"the label '{commands_[0]['name']}' is a command, and a token binds values: write name=value")
    return labels


def _auth_server(text: str) -> str:
    from teleport_conch.config.scalars import AUTH_PORT  # brings the reader of YAML with it

    return str(parse_address(text, AUTH_PORT))


#: Kinds of values: an address, a comma list, a time to live in seconds, roles of join tokens, labels.
auth_server = _checked(_auth_server)
names = _checked(_names)
time_to_live = _checked(_positive)
join_roles = _checked(_join_roles)
labels = _checked(_static_labels)
