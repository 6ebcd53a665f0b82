"""``teleport``: starts services on this host, and says where one is."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from teleport_conch.cli.arguments import USAGE_EXIT, Parser, Parsers, commands
from teleport_conch.cli.edge import FAILURE_EXIT, complain, guarded
from teleport_conch.cli.table import inert

_DESCRIPTION = "Starts the services of a cluster on this host: auth, proxy and node."
_EPILOG = """\
examples:
  (umask 077 && teleport configure > /etc/teleport.yaml)
  teleport start
  teleport start --roles=node --token=... --ca-pin=... --auth-server=auth.example.com:3025
  teleport demo
"""
DEMO_FOLDER = Path(".demo")


def main(argv: Sequence[str] | None = None) -> None:
    """The program; exits with 0, with 1 for a failure, and with 2 for a command line that cannot be understood."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["start"]:
        sys.exit(_start(words[1:]))  # the flags are those of the twist plugins, which read them in another way
    arguments = parse(words)
    sys.exit(guarded(partial(arguments.run, arguments), arguments.debug))


def parse(words: Sequence[str]) -> Namespace:
    """The command line of all commands but ``start``."""
    parser = Parser(prog="teleport", description=_DESCRIPTION, epilog=_EPILOG)
    parser.set_defaults(run=None, debug=False)
    found = commands(parser)
    found.add_parser("start", help="start services; see teleport start --help")
    _add(found, "configure", _configure, "Print a configuration that starts as it is, with a fresh token.")
    _add(found, "status", _status, "Say which session of which user this shell belongs to.")
    text = "Run a whole cluster on this machine's loopback interface, to try things on."
    demo = _add(found, "demo", _demo, text)
    where = "folder that its state is kept in (.demo)"
    demo.add_argument("--dir", type=Path, default=DEMO_FOLDER, metavar="FOLDER", help=where)
    _add(found, "version", _version, "Print the version of this program.")
    arguments = parser.parse_args(words)
    if arguments.run is None:
        parser.print_help(sys.stderr)
        parser.exit(USAGE_EXIT, "error: Give one of the commands.\n")
    return arguments


def _add(parsers: Parsers, name: str, run: Callable[[Namespace], None], text: str) -> Parser:
    made = parsers.add_parser(name, help=text[0].lower() + text[1:].rstrip("."), description=text)
    made.set_defaults(run=run)
    made.add_argument("-d", "--debug", action="store_true", help="show where a failure came from")
    return made


def _start(words: Sequence[str]) -> int:
    from twisted.python.usage import UsageError

    from teleport_conch.cli.start_options import StartOptions
    from teleport_conch.errors import TeleportError

    options = StartOptions()
    try:
        options.parseOptions(list(words))
    except UsageError as error:
        complain(str(error))
        # A flag is wrong, or what the configuration file says: only the first is about how the command was used.
        return FAILURE_EXIT if isinstance(error.__context__, TeleportError) else USAGE_EXIT
    from teleport_conch.cli.serving import serve

    return guarded(partial(serve, options), bool(options["debug"]))


def _configure(arguments: Namespace) -> None:
    import socket

    from teleport_conch.config.sample import fresh_token, sample

    print(sample(socket.gethostname(), fresh_token(os.urandom)), end="")


def _status(arguments: Namespace) -> None:
    print(session_status(os.environ), end="")


def session_status(environment: Mapping[str, str]) -> str:
    """Five lines about the session that an environment is of.

    :raises StartError: it is of none.
    """
    from teleport_conch.errors import StartError

    names = ("SSH_TELEPORT_USER", "SSH_TELEPORT_CLUSTER_NAME", "SSH_TELEPORT_HOST_UUID", "SSH_SESSION_ID")
    user, cluster, host_uuid, session = (inert(environment.get(name, "")) for name in names)
    if not (user and host_uuid and session):
        raise StartError("You are not inside of a Teleport SSH session")
    login, client = (inert(environment.get(name, "")) for name in ("USER", "SSH_CLIENT"))
    web = inert(environment.get("SSH_SESSION_WEBPROXY_ADDR", ""))
    url = (
        f"https://{web}/web/cluster/{cluster}/node/{host_uuid}/{login}/{session}"
        if web
        else "none: there is no web proxy"
    )
    return (
        f"User ID     : {user}, logged in as {login} from {client}\n"
        f"Cluster Name: {cluster}\n"
        f"Host UUID   : {host_uuid}\n"
        f"Session ID  : {session}\n"
        f"Session URL : {url}\n"
    )


def _demo(arguments: Namespace) -> None:
    from teleport_conch.cli.demo import demonstrate

    demonstrate(arguments.dir)


def _version(arguments: Namespace) -> None:
    import platform
    from importlib.metadata import version

    print(f"Teleport v{version('teleport-conch')} twisted {version('twisted')} python {platform.python_version()}")


if __name__ == "__main__":
    main()
