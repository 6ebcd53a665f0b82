"""The command line of ``tsh``: every command with its flags and its help, and the name of what it runs.

Nothing here is slow to import: ``tsh --help`` and ``tsh status`` are typed all day.
"""

from __future__ import annotations

import os
from argparse import REMAINDER, ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from teleport_conch.cli.arguments import Parser, Parsers, commands, names, unbuilt
from teleport_conch.cli.listing_options import of_recordings
from teleport_conch.cli.tsh import flags

SYSTEMS = ("linux", "macos", "windows")
LIST_FORMATS = ("text", "json", "names")
PLAY_FORMATS = ("pty", "text", "json", "asciicast")
RECORDING_FORMATS = ("table", "json", "names")
IDENTITY_FORMATS = ("file", "openssh", "tls")
SHELLS = ("bash", "zsh", "fish")
TAKE_IDENTITIES = frozenset(
    (
        *("ssh.ssh", "scp.scp", "nodes.listing", "clusters.clusters", "status.status", "config.config"),
        *("proxying.ssh", "proxying.login", "play.play", "recordings.listing"),
    )
)
"""What goes with an identity file. Others would say something of ``~/.tsh``, or change it."""

_DESCRIPTION = """\
Logs in to a cluster, and connects to its nodes.
"""
_EPILOG = """\
examples:
  tsh login --proxy=proxy.example.com --user=alice --ca-pin=sha256:...
  tsh ls env=prod
  tsh ssh root@web1
  tsh config >> ~/.ssh/config

environment:
  TELEPORT_PROXY, TELEPORT_USER, TELEPORT_LOGIN, TELEPORT_SITE, TELEPORT_CA_PIN, TELEPORT_AUTH stand for --proxy,
  --user, --login, --cluster, --ca-pin, --auth; TELEPORT_USE_LOCAL_SSH_AGENT is true or false;
  TELEPORT_HOME stands for the folder ~/.tsh
"""


def tsh_parser(environment: Mapping[str, str] = os.environ) -> Parser:
    """The parser of everything.

    What it answers has ``run``, the name of a function below :mod:`teleport_conch.cli.tsh`.

    :param environment: where defaults may come from.
    """
    parser = Parser(prog="tsh", description=_DESCRIPTION, epilog=_EPILOG)
    flags.before(parser, environment)
    parser.set_defaults(run="", check=None, unbuilt="")
    found = commands(parser)
    _add_login(found)
    _add_listing(found)
    _add_ssh(found)
    _add_scp(found)
    _add_recordings(found)
    _add_config(found)
    _add_certificates(found)
    _leaf(found, "clusters", "List the clusters that can be reached.", "clusters.clusters").add_argument(
        "-q", "--quiet", action="store_true", help="without the heads of the columns"
    )
    _leaf(found, "version", "Print the version of this program.", "version.version")
    shells = _leaf(found, "completion", "Print what makes a shell complete words of tsh.", "completion.completion")
    shells.add_argument("shell", choices=SHELLS, help=", ".join(SHELLS))
    for name, why in flags.UNBUILT.items():
        unbuilt(found, name, why)
    return parser


_behind = cache(flags.behind)


def _leaf(
    parsers: Parsers, name: str, text: str, run: str, example: str = "", parent: ArgumentParser | None = None
) -> Parser:
    """A command.

    :param parent: the flags of all commands, for one that changes some of them; others share them.
    """
    epilog = f"example:\n  {example}" if example else None
    parents = [parent or _behind(run if run in ("login.login", "ssh.ssh", "scp.scp") else "")]
    made = parsers.add_parser(name, help=text[0].lower() + text[1:].rstrip("."), epilog=epilog, parents=parents)
    made.description = text
    made.set_defaults(run=run, needs=None)
    return made


def _add_login(parsers: Parsers) -> None:
    example = "tsh login --proxy=proxy.example.com --user=alice"
    login = _leaf(parsers, "login", "Log in, and get certificates that end by themselves.", "login.login", example)
    login.add_argument("site", nargs="?", default="", metavar="CLUSTER", help="the cluster (the proxy's own)")
    file = "write key and certificates into a new file, and keep them nowhere else"
    login.add_argument("-o", "--out", type=Path, default=None, metavar="FILE", help=file)
    form = (
        "of that file: file (all in one, for --identity), openssh (FILE and FILE-cert.pub), tls (FILE.key, .crt, .cas)"
    )
    login.add_argument("--format", dest="form", type=_identity_format, default=None, metavar="FORM", help=form)
    login.add_argument("--overwrite", action="store_true", help="replace what is there of that name")
    login.add_argument("--browser", type=_browser, default="none", metavar="none", help="no browser is ever opened")
    code = "use one of the recovery codes in place of the second factor"
    login.add_argument("--recovery", action="store_true", help=code)
    roles = "ask for these roles for a while, and wait for the approval; * for all that you may ask for"
    login.add_argument("--request-roles", type=names, default=(), metavar="A,B", help=roles)
    login.add_argument("--request-reason", default="", metavar="TEXT", help="what for, for who approves it")
    _leaf(parsers, "logout", "Remove the keys of this or of all proxies.", "logout.logout")
    status = _leaf(parsers, "status", "Show who is logged in where, and until when.", "status.status")
    status.add_argument("-f", "--format", choices=("text", "json"), default="text", help="form of the output (text)")


def _identity_format(text: str) -> str:
    if text == "kubernetes":
        raise ArgumentTypeError("kubernetes is not built yet: nothing here leads to Kubernetes")
    if text not in IDENTITY_FORMATS:
        raise ArgumentTypeError(f"the format of an identity is {', '.join(IDENTITY_FORMATS)}, and not '{text[:32]}'")
    return text


def _browser(text: str) -> str:
    if text != "none":
        raise ArgumentTypeError("no browser is ever opened here, as there are no logins by one: leave it out")
    return text


_QUIETLY = "list nothing, and ask nothing, where one would have to log in first: for scripts"


def _add_listing(parsers: Parsers) -> None:
    listing = _leaf(parsers, "ls", "List the nodes that you may log in to.", "nodes.listing", "tsh ls env=prod,role=db")
    listing.add_argument("labels", nargs="?", default="", metavar="K=V,...", help="only nodes with these labels")
    listing.add_argument("--search", default="", metavar="TEXT", help="only nodes with this in a name or label")
    listing.add_argument("--no-login", action="store_true", help=_QUIETLY)
    listing.add_argument("-v", "--verbose", action="store_true", help="with their IDs, and all their labels")
    listing.add_argument("-f", "--format", choices=LIST_FORMATS, default="text", help="form of the output (text)")


def _add_ssh(parsers: Parsers) -> None:
    text = "Run a shell, or a command, on a node; a command also on all nodes with a label."
    ssh = _leaf(parsers, "ssh", text, "ssh.ssh", "tsh ssh root@env=prod uptime")
    ssh.add_argument("-p", "--port", type=int, default=0, help="the port of the node, where a name is not enough")
    ssh.add_argument("-A", "--forward-agent", action="store_true", help="forward the ssh-agent")
    ssh.add_argument("-t", "--tty", action="count", default=0, help="with a terminal, also for a command")
    ssh.add_argument("-N", dest="no_command", action="store_true", help="forward ports, and run nothing")
    here = "run COMMAND on this computer, while the forwards stand"
    ssh.add_argument("--local", action="store_true", help=here)
    for flag, what in (("-L", "a port here, to there"), ("-R", "a port there, to here"), ("-D", "SOCKS")):
        ssh.add_argument(flag, action="append", default=[], metavar="SPEC", help=f"forward {what}")
    ssh.add_argument("-o", dest="options", action="append", default=[], metavar="KEY=VALUE", help="option of OpenSSH")
    ssh.add_argument("destination", metavar="[LOGIN@]NODE", help="nodename, UUID, or label=value[,...]")
    ssh.add_argument("command", nargs=REMAINDER, metavar="COMMAND", help="what to run (a shell)")


def _add_scp(parsers: Parsers) -> None:
    scp = _leaf(parsers, "scp", "Copy files from or to a node.", "scp.scp", "tsh scp -r logs root@web1:/tmp")
    scp.add_argument("-r", "--recursive", action="store_true", help="folders with what is in them")
    scp.add_argument("-p", dest="preserve", action="store_true", help="keep times and modes")
    scp.add_argument("-P", "--port", type=int, default=0, help="the port of the node")
    scp.add_argument("-q", "--quiet", action="store_true", help="no progress")
    scp.add_argument("paths", nargs="+", metavar="[[LOGIN@]NODE:]PATH", help="sources, and the target last")


def _add_recordings(parsers: Parsers) -> None:
    text = "Play a recorded session, as somebody saw it on a terminal."
    play = _leaf(parsers, "play", text, "play.play", "tsh play 0b5c9f1e-5c0a-4f0e-9a63-6d1a54f6a001")
    forms = "pty: as it was (on a terminal with its times); text: readable, and harmless; json; asciicast (pty)"
    play.add_argument("-f", "--format", choices=PLAY_FORMATS, default="pty", help=forms)
    play.add_argument("--output", type=Path, metavar="FILE", help="a new file, in place of standard output")
    faster = "so many times as fast, 0.1 to 100 (1)"
    play.add_argument("--speed", type=_speed, default=1.0, metavar="N", help=faster)
    play.add_argument("--follow", action="store_true", help="wait for more where the session goes on")
    which = "the id of the session, or a file that ends in .rec"
    play.add_argument("session", metavar="SESSION", help=which)
    inner = commands(parsers.add_parser("recordings", help="recorded sessions"))
    text = "List the recorded sessions that you may see, the newest first."
    example = "tsh recordings ls --from=2d --user=alice"
    listing = _leaf(inner, "ls", text, "recordings.listing", example, flags.behind())
    of_recordings(listing)
    listing.add_argument("--no-login", action="store_true", help=_QUIETLY)
    listing.add_argument(
        "-f", "--format", choices=RECORDING_FORMATS, default="table", help="form of the output (table)"
    )


def _speed(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 100.0:
        raise ArgumentTypeError(f"'{text[:16]}' is no speed: 0.1 is a tenth, 100 a hundred times as fast")
    return found


def _add_config(parsers: Parsers) -> None:
    config = _leaf(
        parsers, "config", "Print an ssh_config for OpenSSH.", "config.config", "tsh config >> ~/.ssh/config"
    )
    config.add_argument("--os", dest="system", choices=SYSTEMS, help="for another system than this one")
    proxy = parsers.add_parser("proxy", help="connections for other programs")
    inner = commands(proxy)
    _leaf(inner, "login", "Log in again where the certificates have ended: what Match exec runs.", "proxying.login")
    ssh = _leaf(inner, "ssh", "Connect stdin and stdout to a node: what ProxyCommand runs.", "proxying.ssh")
    ssh.add_argument("destination", metavar="[LOGIN@]NODE[:PORT]", help="where to")


def _add_certificates(parsers: Parsers) -> None:
    inner = commands(parsers.add_parser("cert", help="what certificates say"))
    text = "Say in words what an SSH certificate allows, and who looks at what."
    explain = _leaf(inner, "explain", text, "cert.explain", "tsh cert explain ~/.ssh/id_ed25519-cert.pub")
    explain.add_argument("file", nargs="?", default="", metavar="FILE", help="the certificate (your own); - for stdin")
    example = "tsh bot --proxy=proxy.example.com --token-file=token --ca-pin=sha256:... --out=/var/lib/ci"
    bot = _leaf(parsers, "bot", "Keep the certificates of a robot fresh in a folder.", "bot.bot", example)
    bot.add_argument("--out", required=True, metavar="FOLDER", help="where its key, certificates and ssh_config go")
    first = "a file with the token of 'tctl bots add', for the first time"
    bot.add_argument("--token-file", type=Path, default=None, metavar="FILE", help=first)
    bot.add_argument("--once", action="store_true", help="renew if that is due, and end: for a timer")
