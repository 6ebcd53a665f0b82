"""From the certificate that a connection showed to who is calling.

The handshake takes any certificate, since all it has to prove is that the caller holds the key. Whether the certificate
is believed is decided here, once for each connection, and again when authorities, roles or users change or it runs out;
the answer then says why not, which a failed handshake could not.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, frozen
from cryptography import x509

from teleport_conch.access.aged import NOT_AGED
from teleport_conch.access.builtin import resolve
from teleport_conch.access.decision import Caller
from teleport_conch.access.directory import Claims, Directory, signed_at
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.state.authorities import Authorities
from teleport_conch.certs.tls import TLSIdentity
from teleport_conch.certs.trust import check_tls_certificate
from teleport_conch.errors import AccessDenied, CertificateNotYetValid, CertificateRefused, TeleportError


@frozen
class Peer:
    """Who is calling."""

    identity: TLSIdentity
    caller: Caller

    @property
    def role(self) -> str:
        """A host's one system role; empty for a person."""
        return self.identity.roles[0] if self.identity.kind == "host" else ""


def peer_of(identity: TLSIdentity, directory: Directory, now: float) -> Peer:
    """Who calls with a certificate that is believed.

    :raises AccessDenied: the certificate names a role that does not exist, or its user is not there any more.
    """
    host = identity.kind == "host"
    claims = Claims(identity.name, identity.roles, signed_at(identity.not_before), identity.requests)
    roles = resolve(identity.roles, "host") if host else directory.roles_of(claims, now)
    caller = Caller(
        name=identity.name,
        kind=identity.kind,
        roles=roles,
        logins=identity.principals,
        traits={"logins": identity.principals, **identity.traits},
        host_uuid=identity.name if host else "",
        aged=NOT_AGED if host else directory.aged(claims, now),
    )
    return Peer(identity, caller)


@define(eq=False)
class Verdict:
    """What was decided of one connection's certificate, and for how long that holds.

    :ivar peer: None where no certificate was shown, or it was refused.
    :ivar refusal: why it was refused.
    :ivar generation: of what was known then.
    :ivar until: POSIX seconds.
    """

    peer: Peer | None
    refusal: TeleportError | None
    generation: tuple[int, ...]
    until: float


@frozen
class Judge:
    """Decides whether certificates are believed.

    :ivar _generation: counts the changes of the directory.
    """

    _clocks: Clocks
    _authorities: Authorities
    _directory: Directory
    _generation: Callable[[], tuple[int, ...]]

    def judge(self, certificate: x509.Certificate | None, before: Verdict | None) -> Verdict:
        """The verdict on a certificate; ``before``, the last one on the same, as long as it holds."""
        now, generation = self._clocks.wall(), (self._authorities.generation, *self._generation())
        if before is not None and before.generation == generation and now < before.until:
            return before
        if certificate is None:
            return Verdict(None, None, generation, float("inf"))
        try:
            peer = self._believe(certificate, now)
        except (CertificateRefused, AccessDenied) as reason:
            # A clock that is set right, here or there, makes another certificate of it; so it is not kept.
            return Verdict(None, reason, generation, now)
        until = min(peer.identity.not_after, self._directory.until(peer.identity.name), peer.caller.lent_until)
        return Verdict(peer, None, generation, until)

    def _believe(self, certificate: x509.Certificate, now: float) -> Peer:
        try:
            identity = check_tls_certificate(certificate, self._authorities.trusted, now)
        except CertificateNotYetValid as reason:
            found = reason.facts.get("seconds")
            seconds = round(found) if isinstance(found, int | float) else 0
            raise CertificateNotYetValid(
                f"The certificate becomes valid in {seconds} seconds by the clock of the auth server."
                " One of the two clocks is wrong: set it, or wait.",
                seconds=seconds,
            ) from None
        return peer_of(identity, self._directory, now)
