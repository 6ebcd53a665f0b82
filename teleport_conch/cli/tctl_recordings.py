"""The part of ``tctl``'s command line that is about recordings."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from teleport_conch.cli import arguments as parsing
from teleport_conch.cli.arguments import Parser, Parsers, leaf
from teleport_conch.cli.listing_options import moment, of_recordings


def recordings(parsers: Parsers) -> None:
    """``tctl recordings``."""
    example = "tctl recordings ls --from=2d --user=alice"
    listing = leaf(parsers, "ls", "List recorded sessions, the newest first.", example=example)
    listing.set_defaults(run="recordings.listing")
    of_recordings(listing)
    parsing.format_option(listing)
    text = "Say what is known of a recording, and whether each of its slices follows the one before it."
    showing = leaf(parsers, "show", text, example="tctl recordings show SESSION")
    showing.set_defaults(run="recordings.show")
    _session(showing)
    parsing.format_option(showing)
    _export(parsers)
    _verify(parsers)
    _remove(parsers)


def _export(parsers: Parsers) -> None:
    text = "Write a recording to a file, which 'tsh play' plays and 'tctl recordings verify' checks."
    export = leaf(parsers, "export", text, example="tctl recordings export SESSION --output=incident.rec")
    export.set_defaults(run="recordings.export")
    _session(export)
    export.add_argument("--output", type=Path, metavar="FILE", help="a new file (SESSION.rec)")


def _verify(parsers: Parsers) -> None:
    text = "Check the file of a recording: nothing in it was changed, left out or put in. Needs no cluster."
    verify = leaf(parsers, "verify", text, example="tctl recordings verify incident.rec --head=93a1...")
    verify.set_defaults(run="recordings.verify", alone=True)
    verify.add_argument("file", type=Path, metavar="FILE")
    known = "what the digest of the last slice has to be, as the event session.upload has it"
    verify.add_argument("--head", default="", metavar="SHA256", help=known)
    parsing.format_option(verify)


def _remove(parsers: Parsers) -> None:
    text = "Remove recordings, for good; those that are still being made stay."
    removal = leaf(parsers, "rm", text, aliases=("del",), example="tctl recordings rm --older-than=90d --yes")
    removal.set_defaults(run="recordings.remove", check=_check_removal)
    removal.add_argument("sessions", nargs="*", metavar="SESSION", help="ids of sessions")
    older = "all of sessions that began before: 90d, or 2026-11-22"
    removal.add_argument("--older-than", dest="before", type=moment, metavar="WHEN", help=older)
    sure = "do it; without it, --older-than lists what would be removed"
    removal.add_argument("--yes", action="store_true", help=sure)


def _check_removal(arguments: Namespace) -> str | None:
    if bool(arguments.sessions) == (arguments.before is not None):
        return "Say which recordings to remove: their ids, or --older-than=90d."
    return None


def _session(parser: Parser) -> None:
    parser.add_argument("session", metavar="SESSION", help="its id, as 'tctl recordings ls' lists it")
