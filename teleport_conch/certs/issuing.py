"""X.509 certificates as our authorities issue them (RFC 5280): their own, and those of users and hosts."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from teleport_conch.certs import names, tls
from teleport_conch.certs.public_key import Material

Window = tuple[float, float]
"""First and last POSIX second."""


def self_signed(private_key: ec.EllipticCurvePrivateKey, cluster: str, serial: int, window: Window) -> x509.Certificate:
    """An authority's own certificate, which may sign for users and hosts and not for further authorities."""
    public_key = private_key.public_key()
    subject = tls.authority_subject(cluster)
    unsigned = (
        builder(subject, subject, public_key, serial, window)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    return unsigned.sign(private_key, hashes.SHA256())


def leaf(
    issuer: x509.Certificate,
    private_key: ec.EllipticCurvePrivateKey,
    public_key: Material,
    subject: x509.Name,
    served: Sequence[x509.GeneralName],
    serial: int,
    window: Window,
) -> x509.Certificate:
    """A certificate of a user or host, for TLS clients; with names to serve, for servers too.

    :param issuer: the authority's own certificate, of which ``private_key`` is the key.
    """
    authority_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if served:
        usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    unsigned = (
        builder(subject, issuer.subject, public_key, serial, window)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id),
            critical=False,
        )
    )
    if served:
        unsigned = unsigned.add_extension(x509.SubjectAlternativeName(served), critical=False)
    return unsigned.sign(private_key, hashes.SHA256())


def server_names(host_uuid: str, cluster: str, role: str, others: Sequence[str]) -> list[x509.GeneralName]:
    """What a host of this role may serve TLS as.

    :raises PrincipalForbidden: one of ``others`` is no host name or address, or is reserved.
    :raises BadParameter: there is no such role.
    """
    served = [f"{host_uuid}.{cluster}", *map(names.host_name, others)]
    if names.host_role(role) == "Auth":
        served += [names.SERVER_NAME, f"*.{names.SERVER_NAME}"]
    if role == "Proxy":
        served.append(names.PROXY_SERVER_NAME)
    return [general_name(name) for name in dict.fromkeys(served)]


def general_name(name: str) -> x509.GeneralName:
    """A host name or an address, as a certificate holds it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def builder(
    subject: x509.Name, issuer: x509.Name, public_key: Material, serial: int, window: Window
) -> x509.CertificateBuilder:
    """A certificate without extensions that is not signed yet."""
    start, end = (datetime.fromtimestamp(int(second), UTC) for second in window)
    return x509.CertificateBuilder(issuer, subject, public_key, serial, start, end)


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
