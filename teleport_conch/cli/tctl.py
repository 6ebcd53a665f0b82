"""``tctl``: what an administrator does with a cluster."""

from __future__ import annotations

import gc
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial

from teleport_conch.cli.arguments import USAGE_EXIT
from teleport_conch.cli.edge import guarded
from teleport_conch.cli.tctl_line import tctl_parser


def main(argv: Sequence[str] | None = None) -> None:
    """The program; exits with 0, with 1 for a failure, and with 2 for a command line that cannot be understood."""
    # A process of half a second: looking for garbage takes a third of that, while it runs and again when it ends.
    gc.disable()
    arguments = parse(sys.argv[1:] if argv is None else argv)
    code = guarded(partial(_execute, arguments), arguments.debug)
    gc.freeze()
    sys.exit(code)


def parse(argv: Sequence[str]) -> Namespace:
    """The command line, read. Exits with 2 where it is wrong, and after ``--help``."""
    parser = tctl_parser()
    arguments = parser.parse_args(argv)
    if arguments.unbuilt:
        parser.exit(USAGE_EXIT, f"error: {arguments.unbuilt}\n")
    if arguments.needs is not None:
        arguments.needs.print_help(sys.stderr)
        arguments.needs.exit(USAGE_EXIT, "error: Give one of the commands.\n")
    if arguments.insecure:
        parser.error("--insecure is refused: the auth server is always verified. Leave the flag out.")
    problem = arguments.check(arguments) if arguments.check else None
    if problem:
        parser.error(problem)
    return arguments


def _execute(arguments: Namespace) -> None:
    # Imported here, since both take far longer than all that is needed to say what is wrong with a command line.
    if arguments.run is None:
        from importlib.metadata import version

        print(f"Teleport v{version('teleport-conch')}")
    else:
        from teleport_conch.cli.connecting import carry_out

        print(carry_out(arguments).render(arguments.format), end="")


if __name__ == "__main__":
    main()
