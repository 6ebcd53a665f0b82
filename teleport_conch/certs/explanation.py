"""What an SSH certificate allows, in words, field by field: where each is enforced, and what refuses it.

Any certificate can be explained, also one that others made with ``ssh-keygen``, one that is expired, and one that no
server would take. Nothing here decides anything: :mod:`teleport_conch.certs.trust` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from teleport_conch import wire
from teleport_conch.certs import extensions, keys, options
from teleport_conch.certs.certificate import (
    FOREVER,
    CertificateType,
    SSHCertificate,
    check_authority_type,
    unwrap,
    verify_signature,
)
from teleport_conch.certs.words import MAX_LISTED, instant, listed, shown, span
from teleport_conch.errors import TeleportError

_PERMISSIONS = {
    extensions.PERMIT_PTY: "a terminal",
    extensions.PERMIT_PORT_FORWARDING: "forwarding of connections (ssh -L, -R, -D, -W)",
    extensions.PERMIT_AGENT_FORWARDING: "forwarding of the SSH agent (ssh -A)",
    extensions.PERMIT_X11_FORWARDING: "forwarding of windows (ssh -X)",
    "permit-user-rc": "running ~/.ssh/rc",
}


@frozen
class Line:
    """One field.

    :ivar says: what is in it.
    :ivar enforced: who looks at it, and what is refused by it; empty where nothing is.
    """

    field: str
    says: str
    enforced: str = ""

    def text(self) -> str:
        return f"{self.field}: {self.says}" + (f"\n    {self.enforced}" if self.enforced else "")


def explain(certificate: SSHCertificate, now: float) -> tuple[Line, ...]:
    """The fields of a certificate in the order in which servers look at them.

    :param now: POSIX seconds.
    """
    parts = (_heading, _authority, _window, _principals, _critical, _permissions, _ours, _others)
    return tuple(line for part in parts for line in part(certificate, now))


def _heading(certificate: SSHCertificate, now: float) -> Iterator[Line]:
    host = certificate.type is CertificateType.HOST
    whom = "a host, which shows it to clients" if host else "a person, who logs in with it"
    yield Line("kind", f"a certificate for {whom}", "A certificate of the other kind is refused where this one is due.")
    name = shown(certificate.key_id) or "nothing"
    yield Line(
        "name",
        f"{name} (key id), serial {certificate.serial}",
        "It stands in logs and events; nothing is decided by it alone.",
    )
    key = f"{_plain_kind(certificate)} {keys.fingerprint(certificate.public_key)}"
    yield Line("key", key, "Only who has the private key of it can use the certificate.")


def _plain_kind(certificate: SSHCertificate) -> str:
    return certificate.kind.removesuffix("-cert-v01@openssh.com")


def _authority(certificate: SSHCertificate, now: float) -> Iterator[Line]:
    host = certificate.type is CertificateType.HOST
    trusting = "a client has it in known_hosts (@cert-authority)" if host else "a server trusts it (TrustedUserCAKeys)"
    says = f"signed by {keys.fingerprint(certificate.signature_key)}"
    yield Line("authority", says, f"Counts where {trusting}; everywhere else it is refused.")
    refusal = _refusal(lambda: check_authority_type(certificate.signature_key)) or _refusal(
        lambda: verify_signature(certificate)
    )
    if refusal:
        yield Line("signature", "not good", f"Nodes and proxies refuse it: {refusal}")


def _refusal(check: Callable[[], object]) -> str:
    try:
        check()
    except TeleportError as reason:
        return reason.sentence
    return ""


def _window(certificate: SSHCertificate, now: float) -> Iterator[Line]:
    start, end = certificate.valid_after, certificate.valid_before
    if end == FOREVER:
        yield Line(
            "valid", f"from {instant(start)}, without end", "Nodes and proxies refuse what never ends; sshd takes it."
        )
        return
    if end <= start:
        yield Line("valid", "never: it ends before it begins", "Every server refuses it.")
        return
    if now < start:
        state = f"not yet valid, for another {span(start - now)}"
    elif now >= end:
        state = f"expired {span(now - end)} ago"
    else:
        state = f"ends in {span(end - now)}"
    says = f"from {instant(start)} to {instant(end)} ({state})"
    yield Line(
        "valid",
        says,
        "Every server refuses a login outside of it; a session that runs goes on, unless a role says otherwise.",
    )


def _principals(certificate: SSHCertificate, now: float) -> Iterator[Line]:
    host = certificate.type is CertificateType.HOST
    field, called = ("names", "the host is") if host else ("logins", "it logs in as")
    if not certificate.principals:
        yield Line(field, "none", "Nodes and proxies refuse it. Servers before OpenSSH 10.3 take it for any.")
        return
    names = listed(certificate.principals)
    odd = [name for name in certificate.principals if "*" in name or "," in name]
    star = " A star or a comma in one is an ordinary character for us." if odd else ""
    refused = "A client that dials another name refuses the host." if host else "Any other account is refused."
    yield Line(field, f"{called} {names}", f"{refused}{star}")


def _critical(certificate: SSHCertificate, now: float) -> Iterator[Line]:
    for name, data in certificate.critical_options:
        yield _critical_option(certificate.type, name, data)


def _critical_option(type_: CertificateType, name: str, data: bytes) -> Line:
    refusal = _refusal(lambda: options.check_critical_option(type_, name, data))
    if refusal:
        return Line(shown(name), "a limit that is not known, or not well formed", f"Every login is refused: {refusal}")
    if name == options.FORCE_COMMAND:
        return Line(
            name,
            f"only this command: {shown(unwrap(data))}",
            "The server runs it whatever is asked for, and forwards nothing.",
        )
    if name == options.SOURCE_ADDRESS:
        return Line(
            name,
            f"only from {shown(unwrap(data))}",
            "Nodes and proxies look at the client's own address, behind whatever proxies.",
        )
    if name == options.EMERGENCY:
        return Line(name, "for emergencies", "A node takes it only while it cannot reach the auth server.")
    return Line(
        name, "only with the key's PIN or fingerprint", "The server looks whether the security key asked its user."
    )


def _permissions(certificate: SSHCertificate, now: float) -> Iterator[Line]:
    if certificate.type is CertificateType.HOST:
        return
    names = {name for name, _ in certificate.extensions}
    for name, what in _PERMISSIONS.items():
        if name in names:
            yield Line(name, f"permits {what}", "A node asks its roles beside it." if name in _WITH_ROLES else "")
    missing = [what for name, what in _PERMISSIONS.items() if name not in names]
    if missing:
        yield Line("not permitted", "; ".join(missing), "Every server refuses it, whatever roles say.")


_WITH_ROLES = {
    extensions.PERMIT_PORT_FORWARDING,
    extensions.PERMIT_AGENT_FORWARDING,
    extensions.PERMIT_X11_FORWARDING,
}


def _ours(certificate: SSHCertificate, now: float) -> Iterator[Line]:
    if certificate.type is CertificateType.HOST:
        yield from _of_host(certificate)
        return
    try:
        roles, traits = extensions.roles_of(certificate), extensions.traits_of(certificate)
        requests = extensions.requests_of(certificate)
    except TeleportError as wrong:
        yield Line("roles", "not readable", f"Nodes and proxies refuse it: {wrong.sentence}")
        return
    by_them = "Nodes decide by them, as the cluster has them at that moment; sshd does not know them."
    if not extensions.says_roles(certificate):
        yield Line(
            "roles", "not named", f"All count that the person has, and of somebody who is no user none. {by_them}"
        )
    else:
        without = "" if roles else " Without a role nobody logs in to a node of the cluster."
        yield Line("roles", listed(roles) if roles else "none", f"{by_them}{without}")
    if requests:
        yield Line(
            "access requests",
            listed(requests),
            "They lend some of the roles, which nodes and auth count only while the request is approved and not over;"
            " sshd goes by the logins until the certificate ends.",
        )
    for name, values in sorted(traits.items())[:MAX_LISTED]:
        yield Line(f"trait {shown(name)}", listed(values), "Fills the templates of roles.")
    cluster = certificate.extension(extensions.ROUTE_TO_CLUSTER)
    if cluster:
        yield Line("cluster", shown(cluster))


def _of_host(certificate: SSHCertificate) -> Iterator[Line]:
    for name, field in ((extensions.HOST_ROLE, "role"), (extensions.AUTHORITY, "cluster")):
        value = certificate.extension(name)
        if value:
            yield Line(field, shown(value))


def _others(certificate: SSHCertificate, now: float) -> Iterator[Line]:
    known = {
        *_PERMISSIONS,
        extensions.ROLES,
        extensions.TRAITS,
        extensions.ROUTE_TO_CLUSTER,
        extensions.ACTIVE_REQUESTS,
    }
    known |= {extensions.HOST_ROLE, extensions.AUTHORITY}
    for name, data in certificate.extensions:
        if name not in known:
            yield Line(
                shown(name),
                _value(data),
                "An extension that is not known here: it is passed over, and permits nothing.",
            )


def _value(data: bytes) -> str:
    if not data:
        return "set"
    try:
        return shown(unwrap(data))
    except wire.WireError:
        return f"{len(data)} bytes"
