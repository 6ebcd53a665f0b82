"""The ssh_config that leads OpenSSH to the nodes of a cluster, through its proxy.

Hosts are called ``<node>.<cluster>``: the cluster's line in ``known_hosts`` vouches for these, and the proxy knows
them. What the files are called is written so that neither OpenSSH nor the shell that runs a ProxyCommand reads anything
else.
"""

from __future__ import annotations

import shlex
from pathlib import Path, PurePath

from attrs import frozen

from teleport_conch.client.profiles import Home, Profile
from teleport_conch.errors import BadParameter

_AWKWARD = frozenset('"\\\n\r')
_TEXT = """\
# Begin generated Teleport configuration for {proxy} by tsh.

# All hosts of the cluster {cluster}, and its proxy
Host *.{cluster} {proxy}
    IdentityFile {key}
    CertificateFile {certificate}
    IdentitiesOnly yes
    UserKnownHostsFile {known_hosts}
    StrictHostKeyChecking yes
    UpdateHostKeys no

# Who has to log in again is asked before the certificate is read
Match host *.{cluster},{proxy} exec "{program} proxy login {flags}"

# All but the proxy are reached through it
Host *.{cluster} !{proxy}
    Port 3022
    ProxyCommand {command}

# End generated Teleport configuration.
"""
_OWN = """\
# Written by tsh at each login; changes are lost.
Host {alias}
    HostName {host}
    Port {port}
    User tsh

Host *
    IdentityFile {key}
    CertificateFile {certificate}
    IdentitiesOnly yes
    UserKnownHostsFile {known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    ServerAliveInterval 60

Host !{alias} *
    ProxyCommand {command}
"""
ALIAS = "teleport-proxy"
"""What the configuration of ``tsh ssh`` calls the proxy."""


@frozen
class Files:
    """How the files are written in a configuration."""

    key: PurePath | str
    certificate: PurePath | str
    known_hosts: PurePath | str

    @classmethod
    def of(cls, home: Home, profile: Profile) -> Files:
        """Where they are on this computer."""
        paths = (home.key(profile), home.certificate(profile), home.known_hosts(profile))
        return cls(*(path.absolute() for path in paths))

    @classmethod
    def anywhere(cls, home: Home, profile: Profile) -> Files:
        """Where they are on another computer: below its ``~/.tsh``."""
        paths = (home.key(profile), home.certificate(profile), home.known_hosts(profile))
        return cls(*(f"~/.tsh/{path.relative_to(home.folder).as_posix()}" for path in paths))


def for_people(files: Files, profile: Profile, program: str, more: str = "") -> str:
    """What ``tsh config`` prints, for ``~/.ssh/config``.

    :param program: how ``tsh`` is called, for a shell.
    :param more: flags of it, with a space behind them.
    :raises BadParameter: a path cannot be written in it.
    """
    flags = f"{more}--proxy={_web(profile)} --cluster={profile.cluster}"
    command = f"{program} proxy ssh {flags} '%h:%p'"
    return _TEXT.format(
        proxy=profile.proxy_host,
        cluster=profile.cluster,
        key=quoted(files.key),
        certificate=quoted(files.certificate),
        known_hosts=quoted(files.known_hosts),
        program=program,
        flags=flags,
        command=command,
    )


def for_tsh(home: Home, profile: Profile, program: str = "ssh") -> str:
    """What ``tsh ssh`` gives to OpenSSH, and no file of the person besides.

    :param program: where OpenSSH's client is.
    """
    files = Files.of(home, profile)
    host, _, port = profile.ssh_proxy_addr.rpartition(":")
    return _OWN.format(
        alias=ALIAS,
        host=host.strip("[]"),
        port=port,
        key=quoted(files.key),
        certificate=quoted(files.certificate),
        known_hosts=quoted(files.known_hosts),
        command=through_proxy(program, home.ssh_config(profile).absolute()),
    )


def through_proxy(program: str, config: Path, *options: str) -> str:
    """The ProxyCommand that leads to a node.

    :param program: OpenSSH's client, and ``config`` the file that :func:`for_tsh` makes.
    """
    return " ".join([in_shell(program), "-F", in_shell(config), *map(in_shell, options), "-W [%h]:%p", ALIAS])


def _web(profile: Profile) -> str:
    """The proxy as ``--proxy`` takes it, both of whose ports may be unusual."""
    host, _, port = profile.ssh_proxy_addr.rpartition(":")
    web_host = profile.web_proxy_addr.rpartition(":")[0]
    return f"{profile.web_proxy_addr},{port}" if host == web_host else profile.web_proxy_addr


def quoted(path: PurePath | str) -> str:
    """A path as the value of an option that takes files (ssh_config(5), TOKENS and ENVIRONMENT VARIABLES).

    :raises BadParameter: it holds what cannot be written there.
    """
    text = path if isinstance(path, str) else path.as_posix()
    _check(text)
    return f'"{text.replace("%", "%%")}"'


def in_shell(path: Path | str) -> str:
    """A path for the shell that a ProxyCommand is given to, in which OpenSSH replaces what begins with ``%``."""
    text = str(path)
    _check(text)
    return shlex.quote(text).replace("%", "%%")


def _check(text: str) -> None:
    if _AWKWARD & set(text) or "${" in text or not text.isprintable():
        raise BadParameter(
            f"{text[:200]!a} cannot be written in an ssh_config: it holds a quote, a backslash, ${{ or a control"
            " character. Choose another folder with TELEPORT_HOME."
        )
