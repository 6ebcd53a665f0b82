"""How a client verifies the auth server: by the cluster's host authority and one fixed name, whatever address it dials.

Three policies, from the usual one to the weakest:

- :class:`ServerPolicy` verifies authority, name and times, and shows our own certificate where there is one;
- :class:`UntimedPolicy` leaves out the times, and is used for one question only, ``GET /v1/ping``, whose answer tells
  how far the two clocks are apart;
- :class:`UnverifiedPolicy` verifies nothing, and is used for one question only, ``GET /v1/cacert``, whose answer is
  compared with the pin before it is believed.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen
from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname
from service_identity.exceptions import CertificateError
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from teleport_conch.certs.identity import HostIdentity, UserIdentity
from teleport_conch.certs.names import SERVER_NAME
from teleport_conch.errors import ConnectionProblem

#: X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, which pyOpenSSL does not name.
_NO_CHECK_TIME = 0x200000

Identity = HostIdentity | UserIdentity


class IClusterPolicy(IPolicyForHTTPS):
    """A policy that can also help to find out what a failure of TLS was about."""

    def untimed() -> UntimedPolicy | None:
        """The same authority and name at any time and without our certificate; None where nothing is verified."""

    def certificate() -> x509.Certificate | None:
        """Our own certificate."""


def host_authorities(identity: Identity) -> tuple[str, ...]:
    """The PEMs of the TLS certificates of the host authority that came with an identity."""
    return tuple(
        pem for authority in identity.authorities if authority.kind == "host" for pem in authority.tls_certificates
    )


def client_options(identity: Identity | None, authorities: Sequence[str] = ()) -> ServerPolicy:
    """The policy for one identity, or for a caller without one.

    :param authorities: PEMs of the host authority's certificates; those of the identity where none are given.
    """
    if identity is None:
        return ServerPolicy(tuple(authorities))
    key = identity.tls_key if isinstance(identity, HostIdentity) else identity.key
    pem = f"{identity.tls_certificate.strip()}\n{key.strip()}\n".encode("ascii")
    return ServerPolicy(tuple(authorities) or host_authorities(identity), PrivateCertificate.loadPEM(pem))


@implementer(IClusterPolicy)
@frozen(eq=False)
class ServerPolicy:
    """Verifies that the server is an auth server of the cluster, and shows ``credentials`` where it asks for them.

    :ivar name: what the server's certificate has to be for; proxies have a name of their own.
    """

    authorities: tuple[str, ...]
    credentials: PrivateCertificate | None = field(default=None, repr=False)
    name: str = SERVER_NAME
    _creator: IOpenSSLClientConnectionCreator | None = field(init=False, repr=False)

    @_creator.default
    def _make_creator(self) -> IOpenSSLClientConnectionCreator | None:
        if not self.authorities:
            return None
        roots = trustRootFromCertificates([Certificate.loadPEM(pem.encode("ascii")) for pem in self.authorities])
        return optionsForClientTLS(self.name, trustRoot=roots, clientCertificate=self.credentials)

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """The same for each address.

        :raises ConnectionProblem: there is no authority to verify a server with.
        """
        if self._creator is None:
            raise ConnectionProblem("This host does not belong to a cluster yet: it knows no authority to trust.")
        return self._creator

    def certificate(self) -> x509.Certificate | None:
        return self.credentials.original.to_cryptography() if self.credentials else None

    def untimed(self) -> UntimedPolicy | None:
        return UntimedPolicy(self.authorities) if self.authorities else None


@implementer(IOpenSSLClientConnectionCreator)
class _UntimedConnections:
    """Connections that verify authority and name; :attr:`shown` is the certificate of the server met last."""

    def __init__(self, authorities: Sequence[str]) -> None:
        self.shown: x509.Certificate | None = None
        roots = trustRootFromCertificates([Certificate.loadPEM(pem.encode("ascii")) for pem in authorities])
        self._context = CertificateOptions(trustRoot=roots, raiseMinimumTo=TLSVersion.TLSv1_2).getContext()
        store = self._context.get_cert_store()
        if store is None:
            raise ConnectionProblem("OpenSSL has no store of certificates to verify the server with.")
        store.set_flags(_NO_CHECK_TIME)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_tlsext_host_name(SERVER_NAME.encode("ascii"))
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        return connection

    def _verify(self, connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if not ok or depth != 0:
            return bool(ok)
        # An exception would be lost in OpenSSL: whatever goes wrong here has to be a refusal.
        try:
            certificate = shown.to_cryptography()
            verify_certificate_hostname(certificate, SERVER_NAME)
        except (VerificationError, CertificateError, ValueError):
            return False
        self.shown = certificate
        return True


@implementer(IPolicyForHTTPS)
class UntimedPolicy:
    """For ``GET /v1/ping`` after a failure of TLS, and for nothing else."""

    def __init__(self, authorities: Sequence[str]) -> None:
        self._connections = _UntimedConnections(authorities)

    @property
    def shown(self) -> x509.Certificate | None:
        """The certificate that the server showed, once its authority and its name were found right."""
        return self._connections.shown

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        return self._connections


@implementer(IOpenSSLClientConnectionCreator)
class _UnverifiedConnections:
    def __init__(self, name: str) -> None:
        self._name = b"" if isIPAddress(name) or isIPv6Address(name) else name.encode("ascii")  # RFC 6066, section 3
        self._context = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2).getContext()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if self._name:
            connection.set_tlsext_host_name(self._name)
        return connection


@implementer(IClusterPolicy)
class UnverifiedPolicy:
    """For ``GET /v1/cacert`` before the pin is checked, and where a person insists on it.

    :param name: the server that is asked for.
    """

    def __init__(self, name: str = SERVER_NAME) -> None:
        self._connections = _UnverifiedConnections(name)

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        return self._connections

    def untimed(self) -> UntimedPolicy | None:
        return None

    def certificate(self) -> x509.Certificate | None:
        return None


@implementer(IClusterPolicy)
@frozen(eq=False)
class PublicPolicy:
    """Verifies a server by its own name, and by the authorities that this computer trusts for the web."""

    host: str

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        return optionsForClientTLS(self.host)

    def untimed(self) -> UntimedPolicy | None:
        return None

    def certificate(self) -> x509.Certificate | None:
        return None
