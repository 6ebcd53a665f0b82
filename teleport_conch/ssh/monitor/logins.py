"""Logins that a monitor has verified, and what may be started for one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from attrs import field, frozen

from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.ssh.monitor.orders import ANY_RC, HOST_RC, Account, Order, Program

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_WITH_FORCED_COMMAND = re.compile(
    r"LANG|LANGUAGE|LC_[A-Z0-9_]+|TZ|COLORTERM|GIT_PROTOCOL|MAIL|SSH_(CLIENT|CONNECTION|ORIGINAL_COMMAND|SESSION_ID|TELEPORT_[A-Z_]+)",
    re.ASCII,
)
_FOLDERS_OF_PROGRAMS = ("/usr/", "/bin/", "/sbin/", "/opt/", "/nix/", "/run/current-system/")


@frozen
class Login:
    """A login that was verified; ``admission`` is the number under which the host let it in."""

    account: Account
    certificate: SSHCertificate
    client_host: str
    session_id: bytes = field(repr=False)
    admission: int = 0

    def order(self, wanted: Program) -> Order:
        """What is started for it when ``wanted`` is asked for, which a certificate may limit.

        :raises AccessDenied: the certificate does not permit a terminal.
        """
        if wanted.terminal is not None and self.certificate.extension("permit-pty") is None:
            raise AccessDenied("The certificate does not permit a terminal.")
        forced = self.certificate.critical_option("force-command")
        command = wanted.command if forced is None else forced
        own_rc = forced is None and self.certificate.extension("permit-user-rc") is not None
        rc = wanted.rc if own_rc or wanted.rc != ANY_RC else HOST_RC
        program = Program(command, self._environment(wanted, forced), wanted.terminal, rc, wanted.traced)
        return Order(self.account, program, self.client_host, self.admission)

    def check_sockets(self) -> None:
        """Who connects to sockets as an account can have other programs of it do anything.

        :raises AccessDenied: the certificate does not permit that.
        """
        certificate = self.certificate
        is_forced = certificate.critical_option("force-command") is not None
        permitted = (certificate.extension(each) for each in ("permit-port-forwarding", "permit-agent-forwarding"))
        if is_forced or all(each is None for each in permitted):
            raise AccessDenied("The certificate does not permit sockets.")

    def _environment(self, wanted: Program, forced: str | None) -> dict[str, str]:
        name, _, _, home, shell = self.account
        own = {"USER": name, "LOGNAME": name, "HOME": home, "SHELL": shell}
        if forced is not None and wanted.command and wanted.command != forced:
            own["SSH_ORIGINAL_COMMAND"] = wanted.command
        environment = {**(wanted.environment if forced is None else _harmless(wanted.environment)), **own}
        if not all(_VARIABLE.fullmatch(each) and not each.startswith("LD_") for each in environment):
            raise BadParameter("A variable of the session has a name that no variable can have.")
        return environment


def _harmless(wanted: Mapping[str, str]) -> dict[str, str]:
    """What does not make another program of a command: ``BASH_ENV`` would, and ``PATH`` to a folder of anybody's."""
    kept = {name: value for name, value in wanted.items() if _WITH_FORCED_COMMAND.fullmatch(name)}
    folders = (os.path.normpath(each) for each in wanted.get("PATH", "").split(":") if each)
    programs = [each for each in folders if f"{each}/".startswith(_FOLDERS_OF_PROGRAMS)]
    return {**kept, "PATH": ":".join(programs) or os.defpath}
