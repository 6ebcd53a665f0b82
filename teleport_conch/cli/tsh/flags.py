"""The flags of all commands of ``tsh``, and the commands of Teleport's that are missing here.

Nothing here is slow to import: see :mod:`teleport_conch.cli.tsh.line`.
"""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teleport_conch.durations import parse_duration

UNBUILT: Mapping[str, str] = {
    "join": "a session that runs cannot be joined; 'tsh play --follow SESSION' shows what is recorded of it.",
    "bench": "programs that measure SSH reach nodes with the file of 'tsh config'.",
    "show": "'tsh cert explain FILE' says what the certificate of an identity file allows.",
    "kube": "nothing here leads to Kubernetes.",
    "mfa": "the second factor is the app that shows codes; 'tctl users reset' lets somebody set up another one.",
}
"""Commands, and what there is in their place."""
AGENT_VARIABLE = "TELEPORT_USE_LOCAL_SSH_AGENT"
_CONNECTING = ("ssh.ssh", "scp.scp")
_GO = "--gops is for programs that are written in Go, and this one is not: leave it out."
_JUMPS = "--jumphost says where SSH reaches the proxy: it goes with ssh and scp, and this command takes the HTTPS port."


class _Flags:
    """A group of flags.

    :param environment: where defaults may come from; None behind a command, where flags count if they are given.
    """

    def __init__(self, parser: ArgumentParser, title: str, environment: Mapping[str, str] | None) -> None:
        self._group = parser.add_argument_group(title)
        self._environment = environment

    def text(self, *names: str, variable: str = "", **settings: Any) -> None:
        """A flag with a value, empty where neither it nor the variable was given."""
        self.value(*names, default=(self._environment or {}).get(variable, ""), **settings)

    def value(self, *names: str, default: object, **settings: Any) -> None:
        """Any other flag."""
        settings["default"] = SUPPRESS if self._environment is None else default
        self._group.add_argument(*names, **settings)


def before(parser: ArgumentParser, environment: Mapping[str, str]) -> None:
    """Add the flags of all commands, as they stand before a command.

    :param environment: where defaults may come from.
    """
    _of_all(_Flags(parser, "flags of all commands", environment))
    _of_logins(_Flags(parser, "flags of logins", environment))
    sessions = _Flags(parser, "flags of sessions", environment)
    _jump(sessions)
    _escapes(sessions)
    _not_listed(_Flags(parser, "", environment))


def behind(run: str = "") -> ArgumentParser:
    """The same flags behind a command, as a parent of its parser.

    :param run: what it runs: to log in and to connect list flags that others have as well, but not in their help.
    """
    made = ArgumentParser(add_help=False)
    _of_all(_Flags(made, "flags of all commands", None))
    _of_logins(_Flags(made, "flags of logins", None), is_listed=run == "login.login")
    sessions = _Flags(made, "flags of sessions", None)
    _jump(sessions, is_listed=run in _CONNECTING)
    _escapes(sessions, is_listed=run == "ssh.ssh")
    _not_listed(_Flags(made, "", None))
    return made


def _of_all(flags: _Flags) -> None:
    proxy = "the proxy: host, host:port of HTTPS (3080), or host:port,port of SSH (3023)"
    flags.text("--proxy", variable="TELEPORT_PROXY", metavar="HOST", help=proxy)
    flags.text("--user", variable="TELEPORT_USER", metavar="NAME", help="your name in the cluster")
    login = "the account to log in to on nodes"
    flags.text("-l", "--login", variable="TELEPORT_LOGIN", metavar="ACCOUNT", help=login)
    cluster = "the cluster, where it is not the one logged in to"
    flags.text("--cluster", variable="TELEPORT_SITE", metavar="NAME", help=cluster)
    file = "a file of 'tctl auth sign' or 'tsh login --out', in place of a login that is kept; needs --proxy"
    flags.value("-i", "--identity", type=Path, default=None, metavar="FILE", help=file)
    pin = "the pin of the cluster, as 'tctl status' prints it: the proxy is verified by it"
    flags.text("--ca-pin", variable="TELEPORT_CA_PIN", metavar="sha256:...", help=pin)
    risk = "do not verify the proxy at the first login: whoever stands in between gets the password"
    flags.value("--insecure", action="store_true", default=False, help=risk)
    old = "log in also where the cluster wants a newer version of tsh"
    flags.value("--skip-version-check", action="store_true", default=False, help=old)
    flags.value("-d", "--debug", action="store_true", default=False, help="log to stderr; tracebacks")


def _of_logins(flags: _Flags, is_listed: bool = True) -> None:
    """Every command may find that one has to log in again."""

    def listed(text: str) -> str:
        return text if is_listed else SUPPRESS

    long = listed("how long, in minutes, or as 8h (roles limit it)")
    flags.value("--ttl", type=_minutes, default=0.0, metavar="MIN", help=long)
    for word, value, text in (
        ("--use", "true", "give the certificates to a running ssh-agent, as usual"),
        ("--no-use", "false", "keep them out of it"),
    ):
        keep: dict[str, Any] = {"dest": "agent", "action": "store_const", "const": value, "help": listed(text)}
        flags.text(f"{word}-local-ssh-agent", variable=AGENT_VARIABLE, **keep)
    connector = listed("local: with password and code; nothing else is built yet")
    flags.text("--auth", variable="TELEPORT_AUTH", metavar="local", help=connector)
    address = listed("without effect: it is for logins with a browser, which are not built yet")
    flags.text("--bind-addr", variable="TELEPORT_LOGIN_BIND_ADDR", metavar="ADDR", help=address)
    form = listed("standard; who gets certificates for old programs, roles say")
    flags.value("--cert-format", type=_cert_format, default="standard", metavar="standard", help=form)


def _jump(flags: _Flags, is_listed: bool = True) -> None:
    text = "where the SSH port of the proxy is reached, if not where the proxy says"
    host = "[USER@]HOST[:PORT]"
    flags.text("-J", "--jumphost", metavar=host, help=text if is_listed else SUPPRESS)


def _escapes(flags: _Flags, is_listed: bool = True) -> None:
    for word, value, text in (
        ("--no-enable", False, "~ is a letter also after a new line, and never begins ~. or ~?"),
        ("--enable", True, "~. ends the connection, as usual"),
    ):
        keep: dict[str, Any] = {"dest": "escapes", "action": "store_const", "const": value, "default": True}
        flags.value(f"{word}-escape-sequences", help=text if is_listed else SUPPRESS, **keep)


def _not_listed(flags: _Flags) -> None:
    """What Teleport does not list, either."""
    flags.value("--namespace", type=_namespace, default="default", help=SUPPRESS)
    flags.value("--compat", dest="cert_format", type=_cert_format, default="standard", help=SUPPRESS)
    flags.value("--nocache", action="store_true", default=False, help=SUPPRESS)  # there is none to go without
    flags.value("--gops", action="store_true", default=False, help=SUPPRESS)
    flags.text("--gops-addr", help=SUPPRESS)


def problem(arguments: Namespace) -> str:
    """What is wrong with the flags of a command line, as a sentence; empty for nothing."""
    if arguments.gops or arguments.gops_addr:
        return _GO
    if arguments.jumphost and arguments.run not in _CONNECTING:
        return _JUMPS
    return ""


def _minutes(text: str) -> float:
    """Seconds; a time with units, such as ``12h``, is understood as well."""
    seconds = int(text) * 60.0 if text.isdigit() and len(text) < 10 else _seconds(text)
    if seconds < 60:
        raise ArgumentTypeError(f"'{text[:64]}' is not a time of a minute or more: write minutes, or 30m, or 12h")
    return seconds


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        return 0.0


def _cert_format(text: str) -> str:
    if text == "oldssh":
        raise ArgumentTypeError("roles decide who gets certificates for old programs: with cert_format: oldssh there")
    if text not in ("standard", ""):
        raise ArgumentTypeError(f"a format of certificates is standard, and not '{text[:32]}'")
    return "standard"


def _namespace(text: str) -> str:
    if text != "default":
        raise ArgumentTypeError(f"there is one namespace, 'default', and no '{text[:32]}': leave it out")
    return text
