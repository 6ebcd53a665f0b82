"""Which TLS certificates are believed, and whom they speak for."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import errors
from teleport_conch.certs import keys, tls
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.key_pairs import TLSKeyPair
from teleport_conch.certs.trust import TLSAuthorities, check_tls_certificate
from teleport_conch.errors import BadParameter, CertificateMalformed
from tests.certs import samples
from tests.certs.samples import CLUSTER, HOST_CA, HOST_UUID, NOW, USER_CA

TRUSTED = TLSAuthorities.of([USER_CA.public(), HOST_CA.public()])
_CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
_LEAF = x509.BasicConstraints(ca=False, path_length=None)

Subject = Sequence[tuple[ObjectIdentifier, str]]


def user(authority: Authority = USER_CA) -> x509.Certificate:
    return authority.sign_user_tls(
        samples.TLS_KEY.public_key(),
        name="alice",
        logins=["root", "alice"],
        roles=["access", "admin"],
        traits={"logins": ["root"], "team": ["dév", "ops"]},
        ttl_s=3600,
        now=NOW,
        route_to_cluster="leaf.example",
    )


def host(role: str = "Node", names: Sequence[str] = (), authority: Authority = HOST_CA) -> x509.Certificate:
    return authority.sign_host_tls(
        samples.TLS_KEY.public_key(),
        host_uuid=HOST_UUID,
        cluster_name=CLUSTER,
        role=role,
        names=names,
        ttl_s=3600,
        now=NOW,
    )


def forged(
    subject: Subject,
    pair: TLSKeyPair = USER_CA.tls_keys[0],
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = ((_LEAF, True), (_CLIENT, False)),
    signer: ec.EllipticCurvePrivateKey | None = None,
    hash_: hashes.SHA256 | hashes.SHA224 | None = None,
) -> x509.Certificate:
    """A certificate that says what it likes, signed by an authority that would not have."""
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    start, end = (datetime.fromtimestamp(second, UTC) for second in (NOW - 300, NOW + 3600))
    builder = x509.CertificateBuilder(
        pair.certificate.subject, name, samples.TLS_KEY.public_key(), x509.random_serial_number(), start, end
    )
    key_id = pair.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    said = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)
    for extension, critical in (*extensions, (said, False)):
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer or pair.private_key, hash_ or hashes.SHA256())


def subject_of(certificate: x509.Certificate) -> list[tuple[str, str]]:
    return [(attribute.oid.dotted_string, str(attribute.value)) for attribute in certificate.subject]


class FieldTests(SynchronousTestCase):
    def test_user(self) -> None:
        """A user's subject holds roles, logins, traits and cluster; the user's certificate serves nothing."""
        certificate = user()
        self.assertEqual(
            subject_of(certificate),
            [
                ("2.5.4.3", "alice"),
                ("2.5.4.10", "access"),
                ("2.5.4.10", "admin"),
                ("2.5.4.7", "root"),
                ("2.5.4.7", "alice"),
                ("2.5.4.9", "leaf.example"),
                ("2.5.4.17", '{"logins":["root"],"team":["dév","ops"]}'),
            ],
        )
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usage), [ExtendedKeyUsageOID.CLIENT_AUTH])
        self.assertRaises(
            x509.ExtensionNotFound, certificate.extensions.get_extension_for_class, x509.SubjectAlternativeName
        )
        self.assertEqual(certificate.not_valid_before_utc.timestamp(), NOW - 300)
        self.assertEqual(certificate.not_valid_after_utc.timestamp(), NOW + 3600)
        self.assertLess(certificate.serial_number, 1 << 128)

    def test_host(self) -> None:
        certificate = host(names=["node.example.com", "10.0.0.5"])
        self.assertEqual(subject_of(certificate), [("2.5.4.3", f"{HOST_UUID}.{CLUSTER}"), ("2.5.4.10", "Node")])
        served = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(served.get_values_for_type(x509.DNSName), [f"{HOST_UUID}.{CLUSTER}", "node.example.com"])
        self.assertEqual(served.get_values_for_type(x509.IPAddress), [ipaddress.ip_address("10.0.0.5")])
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(set(usage), {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH})

    def test_server_names_of_services(self) -> None:
        """Only auth servers may serve what clients of the API verify, and only proxies what people's clients do."""
        special = {
            "Auth": ["teleport.cluster.local", "*.teleport.cluster.local"],
            "Proxy": ["proxy.teleport.cluster.local"],
        }
        for role in ("Auth", "Node", "Proxy", "Admin"):
            served = host(role).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            found = served.get_values_for_type(x509.DNSName)
            self.assertEqual(found[1:], special.get(role, []))

    def test_not_an_authority(self) -> None:
        """What we sign can sign nothing; the authority's own certificate says that it can, one level deep."""
        for certificate in (user(), host("Auth")):
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
            self.assertTrue(constraints.critical)
            self.assertFalse(constraints.value.ca)
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
            self.assertTrue(usage.digital_signature)
            self.assertFalse(usage.key_cert_sign)
        own = HOST_CA.tls_keys[0].certificate
        self.assertEqual(own.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length, 0)
        self.assertEqual(subject_of(own), [("2.5.4.3", CLUSTER), ("2.5.4.10", CLUSTER)])

    def test_no_longer_than_the_authority(self) -> None:
        """A certificate ends with the authority that signed it, however long was asked for."""
        long = USER_CA.sign_user_tls(
            samples.TLS_KEY.public_key(),
            name="alice",
            logins=["root"],
            roles=[],
            traits={},
            ttl_s=9.9 * 365 * 24 * 3600,
            now=NOW + 5 * 365 * 24 * 3600,
        )
        self.assertEqual(long.not_valid_after_utc, USER_CA.tls_keys[0].certificate.not_valid_after_utc)


class BelievedTests(SynchronousTestCase):
    def test_user(self) -> None:
        certificate = user()
        self.assertEqual(
            check_tls_certificate(certificate, TRUSTED, NOW),
            tls.TLSIdentity(
                kind="user",
                name="alice",
                cluster=CLUSTER,
                roles=("access", "admin"),
                serial=certificate.serial_number,
                not_after=NOW + 3600,
                principals=("root", "alice"),
                traits={"logins": ("root",), "team": ("dév", "ops")},
                route_to_cluster="leaf.example",
                not_before=NOW - 300,
            ),
        )

    def test_limited(self) -> None:
        """What a certificate is bound to, and how often a robot has renewed it, are in the subject."""
        limited = USER_CA.sign_user_tls(
            samples.TLS_KEY.public_key(),
            name="bot-ci",
            logins=["root"],
            roles=["access"],
            traits={},
            ttl_s=3600,
            now=NOW,
            source_address="192.0.2.7,10.0.0.0/8",
            generation=7,
            requests=["r-1", "r-2"],
        )
        identity = check_tls_certificate(limited, TRUSTED, NOW)
        self.assertEqual((identity.source_address, identity.generation), ("192.0.2.7,10.0.0.0/8", 7))
        self.assertEqual(
            subject_of(limited)[-4:-2], [("1.3.9999.1.15", "192.0.2.7,10.0.0.0/8"), ("1.3.9999.1.16", "7")]
        )
        self.assertEqual(subject_of(limited)[-2:], [("1.3.9999.1.17", "r-1"), ("1.3.9999.1.17", "r-2")])
        self.assertEqual(identity.requests, ("r-1", "r-2"))

    def test_limits_that_are_none(self) -> None:
        """An address that nobody can check is not signed, and a generation that is no number is not believed."""
        for wrong in ("10.0.0.0.0", "10.0.0.1/8", "localhost"):
            with self.assertRaises(BadParameter):
                USER_CA.sign_user_tls(
                    samples.TLS_KEY.public_key(),
                    name="alice",
                    logins=["root"],
                    roles=[],
                    traits={},
                    ttl_s=60,
                    now=NOW,
                    source_address=wrong,
                )
        for said in ([(tls.GENERATION, "-1")], [(tls.GENERATION, "9" * 19)], [(tls.GENERATION, "1")] * 2):
            looks = forged([(NameOID.COMMON_NAME, "alice"), *said])
            self.assertRaises(CertificateMalformed, check_tls_certificate, looks, TRUSTED, NOW)

    def test_host(self) -> None:
        for role in ("Node", "Proxy", "Auth", "Admin"):
            identity = check_tls_certificate(host(role), TRUSTED, NOW)
            self.assertEqual((identity.kind, identity.name), ("host", HOST_UUID))
            self.assertEqual((identity.cluster, identity.roles), (CLUSTER, (role,)))

    def test_issuer_decides_the_kind(self) -> None:
        """A user whose certificate looks like that of an admin's host is still a user."""
        looks = forged([(NameOID.COMMON_NAME, f"{HOST_UUID}.{CLUSTER}"), (NameOID.ORGANIZATION_NAME, "Admin")])
        identity = check_tls_certificate(looks, TRUSTED, NOW)
        self.assertEqual((identity.kind, identity.roles), ("user", ("Admin",)))

    def test_long_cluster_name(self) -> None:
        """Where UUID and cluster do not fit into a common name, the authority still says which cluster it is."""
        cluster = "ip-10-20-30-40.eu-central-1.compute.internal.example.com"
        authority = Authority.generate("host", cluster, NOW)
        signed = authority.sign_host_tls(
            samples.TLS_KEY.public_key(),
            host_uuid=HOST_UUID,
            cluster_name=cluster,
            role="Proxy",
            names=[],
            ttl_s=60,
            now=NOW,
        )
        identity = check_tls_certificate(signed, TLSAuthorities.of([authority.public()]), NOW)
        self.assertEqual((identity.name, identity.cluster), (HOST_UUID, cluster))

    def test_two_keys_are_trusted(self) -> None:
        old, new = HOST_CA, Authority.generate("host", CLUSTER, NOW)
        both = TLSAuthorities(user=(), host=(*(pair.certificate for pair in (*new.tls_keys, *old.tls_keys)),))
        for authority in (old, new):
            self.assertEqual(check_tls_certificate(host(authority=authority), both, NOW).kind, "host")

    def test_45_edges(self) -> None:
        """X.509 counts its last second in."""
        for now in (NOW - 300, NOW + 3600, NOW + 3600.9):
            check_tls_certificate(user(), TRUSTED, now)
        early = self.assertRaises(errors.CertificateNotYetValid, check_tls_certificate, user(), TRUSTED, NOW - 301)
        self.assertEqual(early.facts, {"seconds": 1})
        late = self.assertRaises(errors.CertificateExpired, check_tls_certificate, user(), TRUSTED, NOW + 3601 + 412)
        self.assertEqual(late.facts, {"seconds": 412})
        self.assertIn("expired 412 seconds ago; get a new one, or compare the clocks", str(late))

    def test_openssl_agrees(self) -> None:
        """A client that knows the authority accepts the server name of auth, and not that of a node."""
        client = ssl.create_default_context(cadata=HOST_CA.public().tls_certificates[0])
        for role, believed in (("Auth", True), ("Node", False)):
            self.assertEqual(self.handshake(client, role), believed)

    def handshake(self, client: ssl.SSLContext, role: str) -> bool:
        authority = Authority.from_json({**HOST_CA.to_json(with_secrets=True)})
        now = datetime.now(UTC).timestamp()
        signed = authority.sign_host_tls(
            samples.TLS_KEY.public_key(),
            host_uuid=HOST_UUID,
            cluster_name=CLUSTER,
            role=role,
            names=[],
            ttl_s=3600,
            now=now,
        )
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = self.mktemp()
        with open(folder, "w", encoding="ascii") as file:
            file.write(keys.private_pem(samples.TLS_KEY) + tls.certificate_pem(signed))
        server.load_cert_chain(folder)
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = client.wrap_bio(to_client, to_server, server_hostname="teleport.cluster.local")
        theirs = server.wrap_bio(to_server, to_client, server_side=True)
        try:
            for _ in range(4):
                for side in (ours, theirs):
                    try:
                        side.do_handshake()
                    except ssl.SSLWantReadError:
                        continue
        except ssl.SSLCertVerificationError:
            return False
        return ours.version() is not None


class RefusedTests(SynchronousTestCase):
    def refused(
        self, error: type[errors.CertificateRefused], says: str, certificate: x509.Certificate, now: float = NOW
    ) -> None:
        found = self.assertRaises(error, check_tls_certificate, certificate, TRUSTED, now)
        self.assertIs(type(found), error)
        self.assertIn(says, str(found))

    def test_43_unknown_authority(self) -> None:
        """Another cluster, and one of the same name with other keys, are nobody here."""
        self.refused(errors.CertificateAuthorityUnknown, "not trusted here", user(samples.OTHER_USER_CA))
        self.refused(
            errors.CertificateAuthorityUnknown, "not trusted here", user(Authority.generate("user", CLUSTER, NOW))
        )
        nobody = TLSAuthorities(user=(), host=())
        self.assertRaises(errors.CertificateAuthorityUnknown, check_tls_certificate, user(), nobody, NOW)

    def test_52_altered(self) -> None:
        """Whatever byte is changed, the certificate no longer counts."""
        der = user().public_bytes(serialization.Encoding.DER)
        for at in range(0, len(der), 3):
            flipped = bytearray(der)
            flipped[at] ^= 1 << at % 8
            try:
                certificate = tls.load_certificate_pem(ssl.DER_cert_to_PEM_cert(bytes(flipped)))
            except errors.CertificateMalformed:
                continue
            with self.assertRaises(errors.CertificateRefused):
                check_tls_certificate(certificate, TRUSTED, NOW)
        self.flushWarnings()  # cryptography's own, of serials below zero and the like

    def test_52_unused_bits(self) -> None:
        """The one byte that no signature covers and every parser passes over: how many bits of the last are unused."""
        certificate = user()
        while certificate.signature[-1] & 1:
            certificate = user()
        der = bytearray(certificate.public_bytes(serialization.Encoding.DER))
        der[-len(certificate.signature) - 1] = 1
        altered = x509.load_der_x509_certificate(bytes(der))
        self.assertEqual(altered.signature, certificate.signature)
        self.refused(errors.CertificateMalformed, "cannot be read", altered)

    def test_52_signature(self) -> None:
        other = ec.generate_private_key(ec.SECP256R1())
        alice = [(NameOID.COMMON_NAME, "alice")]
        self.refused(errors.CertificateSignature, "signature is wrong", forged(alice, signer=other))
        self.refused(errors.CertificateAlgorithm, "algorithm that no", forged(alice, hash_=hashes.SHA224()))

    def test_55_authority_itself(self) -> None:
        """The authority's own certificate logs nobody in, whoever holds its key."""
        for authority in (USER_CA, HOST_CA):
            self.refused(errors.CertificateType, "that of an authority", authority.tls_keys[0].certificate)
        own = [(NameOID.COMMON_NAME, "alice")]
        self.refused(errors.CertificateType, "that of an authority", forged(own, extensions=((_CLIENT, False),)))

    def test_use(self) -> None:
        server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        alice = [(NameOID.COMMON_NAME, "alice")]
        for extensions in (((_LEAF, True), (server, False)), ((_LEAF, True),)):
            self.refused(errors.CertificateType, "not one for TLS clients", forged(alice, extensions=extensions))

    def test_46_unknown_critical_extension(self) -> None:
        strange = x509.UnrecognizedExtension(ObjectIdentifier("1.3.9999.7"), b"\5\0")
        alice = [(NameOID.COMMON_NAME, "alice")]
        certificate = forged(alice, extensions=((_LEAF, True), (_CLIENT, False), (strange, True)))
        self.refused(errors.CertificateCriticalOption, "1.3.9999.7, which is not known", certificate)
        harmless = forged(alice, extensions=((_LEAF, True), (_CLIENT, False), (strange, False)))
        self.assertEqual(check_tls_certificate(harmless, TRUSTED, NOW).name, "alice")

    def test_restricted_use(self) -> None:
        restricted = forged([(NameOID.COMMON_NAME, "alice"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "usage:kube")])
        self.refused(errors.CertificateCriticalOption, "for a restricted use", restricted)

    def test_users_in_another_form(self) -> None:
        name = (NameOID.COMMON_NAME, "alice")
        for subject, says in (
            ([], "one CN, and has 0"),
            ([name, name], "one CN, and has 2"),
            ([name, (NameOID.STREET_ADDRESS, "a"), (NameOID.STREET_ADDRESS, "b")], "a field twice"),
            ([name, (NameOID.POSTAL_CODE, "{}"), (NameOID.POSTAL_CODE, "{}")], "a field twice"),
            ([name, (NameOID.POSTAL_CODE, "[]")], "not an object"),
            ([name, (NameOID.POSTAL_CODE, "{")], "is not JSON"),
            ([name, (NameOID.POSTAL_CODE, "[" * 50_000)], "is not JSON"),
            ([name, (NameOID.POSTAL_CODE, '{"a":"b"}')], "a list of strings"),
            ([name, (NameOID.POSTAL_CODE, '{"a":[1]}')], "a list of strings"),
            ([name, (NameOID.POSTAL_CODE, '{"a":["\\ud800"]}')], "a list of strings"),
        ):
            self.refused(errors.CertificateMalformed, says, forged(subject))

    def test_hosts_in_another_form(self) -> None:
        node = (NameOID.ORGANIZATION_NAME, "Node")
        own = (NameOID.COMMON_NAME, f"{HOST_UUID}.{CLUSTER}")
        subjects: Sequence[Subject] = (
            [(NameOID.COMMON_NAME, f"{HOST_UUID}.other.example"), node],
            [(NameOID.COMMON_NAME, f"{HOST_UUID}."), node],
            [(NameOID.COMMON_NAME, f"{HOST_UUID.upper()}.{CLUSTER}"), node],
            [(NameOID.COMMON_NAME, f"web1.{CLUSTER}"), node],
            [own, (NameOID.ORGANIZATION_NAME, "node")],
            [own, (NameOID.ORGANIZATION_NAME, "access")],
            [own, (NameOID.ORGANIZATION_NAME, "Nop")],
        )
        for subject in subjects:
            certificate = forged(subject, pair=HOST_CA.tls_keys[0])
            self.refused(errors.CertificateMalformed, f"no host of the cluster {CLUSTER}", certificate)
        two = forged([own, node, (NameOID.ORGANIZATION_NAME, "Admin")], pair=HOST_CA.tls_keys[0])
        self.refused(errors.CertificateMalformed, "one O, and has 2", two)

    def test_pem(self) -> None:
        load: Callable[[str], object] = tls.load_certificate_pem
        for text, says in (("", "not a certificate in PEM"), ("x" * 70_000, "65536 is the limit")):
            self.assertIn(says, str(self.assertRaises(errors.CertificateMalformed, load, text)))
        self.assertEqual(tls.load_certificate_pem(tls.certificate_pem(user())).subject, user().subject)
