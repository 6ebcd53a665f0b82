"""TLS certificates: how the identity of a user or host is written in one, and read again.

======================  ====================  =====================
field of the subject    user                  host
======================  ====================  =====================
CN, common name         user name             ``<uuid>.<cluster>``
O, organization         each role             the system role
L, locality             each login            --
STREET, 2.5.4.9         cluster to route to   --
POSTALCODE, 2.5.4.17    traits as JSON        --
1.3.9999.1.15           addresses to use from --
1.3.9999.1.16           generation of a robot --
1.3.9999.1.17           each access request   --
======================  ====================  =====================

Which authority issued a certificate decides between the columns, before any field is read. The cluster is the O of that
authority; a CN holds 64 bytes (RFC 5280, ub-common-name), and where the cluster's name does not fit, the UUID alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID, ObjectIdentifier

from teleport_conch.certs import extensions, names
from teleport_conch.errors import BadParameter, CertificateCriticalOption, CertificateMalformed

MAX_COMMON_NAME_BYTES = 64
MAX_PEM_CHARS = 1 << 16
BATCH_DIGITS = 16
MAX_GENERATION_DIGITS = 18

SOURCE_ADDRESS = ObjectIdentifier("1.3.9999.1.15")
GENERATION = ObjectIdentifier("1.3.9999.1.16")
ACCESS_REQUEST = ObjectIdentifier("1.3.9999.1.17")

Kind = Literal["user", "host"]


@frozen
class TLSIdentity:
    """Whom a TLS certificate speaks for, once :func:`teleport_conch.certs.trust.check_tls_certificate` believes it.

    :ivar name: user name, or UUID of the host.
    :ivar cluster: the cluster whose authority issued it.
    :ivar roles: names of a user's roles; of a host, its one system role.
    :ivar principals: a user's logins.
    :ivar not_after: POSIX seconds; so is ``not_before``, which is a little before it was signed.
    :ivar source_address: as in the critical option of that name, addresses and blocks that it may be used from; empty
        for everywhere.
    :ivar generation: of a robot's certificates: how often it has renewed them; 0 for a person.
    :ivar requests: the ids of the access requests that lent some of the roles.
    """

    kind: Kind
    name: str
    cluster: str
    roles: tuple[str, ...]
    serial: int
    not_after: float
    principals: tuple[str, ...] = ()
    traits: Mapping[str, tuple[str, ...]] = field(factory=dict)
    route_to_cluster: str = ""
    not_before: float = 0.0
    source_address: str = ""
    generation: int = 0
    requests: tuple[str, ...] = ()

    @property
    def batch(self) -> str:
        """What the serials of all certificates begin with that a host got since it joined: 16 hexadecimal digits."""
        return f"{self.serial:032x}"[:BATCH_DIGITS]


def user_subject(
    name: str,
    logins: Iterable[str],
    roles: Iterable[str],
    traits: Mapping[str, Sequence[str]],
    route_to_cluster: str,
    source_address: str = "",
    generation: int = 0,
    requests: Iterable[str] = (),
) -> x509.Name:
    fields = [(NameOID.COMMON_NAME, name)]
    fields += [(NameOID.ORGANIZATION_NAME, role) for role in roles]
    fields += [(NameOID.LOCALITY_NAME, login) for login in logins]
    if route_to_cluster:
        fields.append((NameOID.STREET_ADDRESS, route_to_cluster))
    if traits:
        fields.append((NameOID.POSTAL_CODE, extensions.write_traits(traits)))
    if source_address:
        fields.append((SOURCE_ADDRESS, source_address))
    if generation:
        fields.append((GENERATION, str(generation)))
    fields += [(ACCESS_REQUEST, request) for request in requests]
    return _name(fields)


def host_subject(host_uuid: str, cluster: str, role: str) -> x509.Name:
    full = f"{host_uuid}.{cluster}"
    common = full if len(full) <= MAX_COMMON_NAME_BYTES else host_uuid
    return _name([(NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, role)])


def authority_subject(cluster: str) -> x509.Name:
    """Subject of an authority's own certificate: CN and O are the cluster, the CN as far as it goes."""
    common = cluster[:MAX_COMMON_NAME_BYTES]
    return _name([(NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, cluster)])


def _name(fields: Iterable[tuple[ObjectIdentifier, str]]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in fields])


def cluster_of(authority: x509.Certificate) -> str:
    """The cluster that an authority's certificate belongs to.

    :raises CertificateMalformed: it names none.
    """
    return _one(authority, NameOID.ORGANIZATION_NAME, "O")


def read_user(certificate: x509.Certificate, cluster: str) -> TLSIdentity:
    """The user of a certificate that the user authority of ``cluster`` issued.

    :raises CertificateMalformed: the subject is not as above. So does :func:`read_host`.
    :raises CertificateCriticalOption: its use is restricted (OU) in a way that is not known here.
    """
    if _all(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME):
        raise CertificateCriticalOption("The certificate is for a restricted use (OU) that is not supported here.")
    single = (NameOID.STREET_ADDRESS, NameOID.POSTAL_CODE, SOURCE_ADDRESS, GENERATION)
    street, postal, source, generation = (_all(certificate, oid) for oid in single)
    if max(map(len, (street, postal, source, generation))) > 1:
        raise CertificateMalformed("The subject of the certificate has a field twice that may be there once.")
    return TLSIdentity(
        kind="user",
        name=_one(certificate, NameOID.COMMON_NAME, "CN"),
        cluster=cluster,
        roles=_all(certificate, NameOID.ORGANIZATION_NAME),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        principals=_all(certificate, NameOID.LOCALITY_NAME),
        traits=extensions.read_traits(postal[0], "POSTALCODE") if postal else {},
        route_to_cluster=street[0] if street else "",
        source_address=source[0] if source else "",
        generation=_number(generation[0]) if generation else 0,
        requests=_all(certificate, ACCESS_REQUEST),
    )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > MAX_GENERATION_DIGITS:
        raise CertificateMalformed("The generation in the subject of the certificate is no number.")
    return int(text)


def read_host(certificate: x509.Certificate, cluster: str) -> TLSIdentity:
    """The host of a certificate that the host authority of ``cluster`` issued."""
    common = _one(certificate, NameOID.COMMON_NAME, "CN")
    unique, dot, rest = common.partition(".")
    role = _one(certificate, NameOID.ORGANIZATION_NAME, "O")
    try:
        usual = names.host_uuid(unique)
    except BadParameter:
        usual = ""
    if usual != unique or (dot and rest != cluster) or role not in names.HOST_ROLES:
        raise CertificateMalformed(f"The certificate's subject names no host of the cluster {cluster}.")
    return TLSIdentity(
        kind="host",
        name=unique,
        cluster=cluster,
        roles=(role,),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def load_certificate_pem(text: str) -> x509.Certificate:
    """The first certificate of a PEM text.

    :raises CertificateMalformed: there is none that can be read.
    """
    if len(text) > MAX_PEM_CHARS:
        raise CertificateMalformed(
            f"A certificate of {len(text)} characters is too long; {MAX_PEM_CHARS} is the limit."
        )
    try:
        return x509.load_pem_x509_certificate(text.encode("utf-8", "replace"))
    except (ValueError, x509.InvalidVersion):
        raise CertificateMalformed("This is not a certificate in PEM form.") from None


def _all(certificate: x509.Certificate, oid: ObjectIdentifier) -> tuple[str, ...]:
    try:
        return tuple(str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid))
    except ValueError:
        raise CertificateMalformed("The subject of the certificate cannot be read.") from None


def _one(certificate: x509.Certificate, oid: ObjectIdentifier, called: str) -> str:
    found = _all(certificate, oid)
    if len(found) != 1 or not found[0]:
        raise CertificateMalformed(f"The subject of the certificate has to have one {called}, and has {len(found)}.")
    return found[0]
