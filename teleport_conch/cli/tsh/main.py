"""The program ``tsh``."""

from __future__ import annotations

import gc
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from teleport_conch.cli.arguments import USAGE_EXIT
from teleport_conch.cli.edge import guarded
from teleport_conch.cli.tsh import flags
from teleport_conch.cli.tsh.line import TAKE_IDENTITIES, tsh_parser
from teleport_conch.errors import BadParameter


def main(argv: Sequence[str] | None = None) -> None:
    """Exits with what the command says, with 1 for a failure, and with 2 for a line that cannot be understood."""
    gc.disable()  # as in tctl: a process of a moment
    arguments = parse(_words(sys.argv) if argv is None else argv)
    code = guarded(partial(_execute, arguments), arguments.debug)
    gc.freeze()
    sys.exit(code)


def _words(argv: Sequence[str]) -> Sequence[str]:
    """What stands behind the program's name. A link to it that is called ``ssh`` or ``scp`` is that command."""
    name = Path(argv[0]).name
    return [name, *argv[1:]] if name in ("ssh", "scp") else argv[1:]


def parse(argv: Sequence[str]) -> Namespace:
    """The command line, read. Exits with 2 where it is wrong, and after ``--help``."""
    parser = tsh_parser()
    arguments = parser.parse_args(argv)
    if arguments.unbuilt:
        parser.exit(USAGE_EXIT, f"error: {arguments.unbuilt}\n")
    if arguments.needs is not None:
        arguments.needs.print_help(sys.stderr)
        arguments.needs.exit(USAGE_EXIT, "error: Give one of the commands.\n")
    wrong = flags.problem(arguments)
    if wrong:
        parser.error(wrong)
    return arguments


def _execute(arguments: Namespace) -> None:
    if arguments.identity is not None and arguments.run not in TAKE_IDENTITIES:
        raise BadParameter("This command takes no identity file: leave --identity out.")
    module, _, name = arguments.run.rpartition(".")
    getattr(import_module(f"teleport_conch.cli.tsh.{module}"), name)(arguments)


if __name__ == "__main__":
    main()
