"""The web certificate: which files are taken, and what happens to those that are no good."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import issuing, keys
from teleport_conch.certs.serving import ServingPair, read_pair, self_signed_pair
from teleport_conch.certs.tls import certificate_pem
from teleport_conch.errors import BadParameter
from teleport_conch.proxy.web_certificate import Files, WebCertificate, WebCertificateRefused
from tests.certs import samples

NOW = 1_800_000_000.0
HOSTS = ("proxy.example.com", "192.0.2.1")
PAIR = self_signed_pair(HOSTS, 7, NOW)
OTHER = self_signed_pair(HOSTS, 8, NOW)


def authority(name: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return issuing.self_signed(key, name, 1, (NOW - 60, NOW + 3600))


def issued(by: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[x509.Certificate, keys.PrivateKey]:
    """A server's certificate that an authority signed."""
    own = keys.generate_tls_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTS[0])])
    names = [issuing.general_name(host) for host in HOSTS]
    return issuing.leaf(by, key, own.public_key(), subject, names, 9, (NOW - 60, NOW + 3600)), own


class PairTests(SynchronousTestCase):
    def test_self_signed(self) -> None:
        """It is for its names and addresses, valid now and for years, and survives its own text."""
        self.assertTrue(PAIR.self_signed)
        for host, named in ((HOSTS[0], True), (HOSTS[1], True), ("other.example.com", False), ("192.0.2.2", False)):
            self.assertEqual(PAIR.names(host), named)
        for when, valid in ((NOW, True), (NOW + 9 * 365 * 86_400, True), (NOW + 11 * 365 * 86_400, False), (0, False)):
            self.assertEqual(PAIR.is_valid_at(when), valid)
        self.assertEqual(read_pair(*PAIR.pems()).chain, PAIR.chain)

    def test_chain(self) -> None:
        """From the server's own up to an authority; in another order, or with a stranger in it, it is refused."""
        root_key, other_key = keys.generate_tls_key(), keys.generate_tls_key()
        root, other = authority("a.example", root_key), authority("b.example", other_key)
        own, key = issued(root, root_key)
        pem = keys.private_pem(key)
        good = read_pair(certificate_pem(own) + certificate_pem(root), pem)
        self.assertEqual((good.chain, good.self_signed), ((own, root), False))
        for chain, why in (
            ((root, own), "its first certificate is not for the key"),
            ((own, other), "is not signed by the next one, of "),
            ((own, *(root,) * 10), "it holds 11 certificates, where 10 is the limit"),
            ((), "there is no certificate in PEM form in it"),
        ):
            refused = self.assertRaises(BadParameter, read_pair, "".join(map(certificate_pem, chain)), pem)
            self.assertIn(why, refused.sentence)

    def test_key(self) -> None:
        self.assertNotIn(str(PAIR.key), repr(PAIR))
        with self.assertRaisesRegex(BadParameter, "This is not a private key in PEM form"):
            read_pair(PAIR.pems()[0], "rubbish")


class FileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.files = Files(self.folder / "cert.pem", self.folder / "key.pem")
        self.now = NOW
        self.loaded: list[int] = []
        self.patch(
            __import__("teleport_conch.proxy.web_certificate", fromlist=["server_context"]),
            "server_context",
            self._context,
        )

    def _context(self, chain: Sequence[x509.Certificate], key: keys.PrivateKey) -> object:
        self.loaded.append(chain[0].serial_number)
        return object()

    def write(self, pair: ServingPair, mode: int = 0o600) -> None:
        certificates, key = pair.pems()
        self.files.certificate.write_text(certificates)
        self.files.key.write_text(key)
        self.files.key.chmod(mode)

    def certificate(self, files: Files | None = None, hosts: Sequence[str] = HOSTS) -> WebCertificate:
        return WebCertificate(files, self.folder, hosts, lambda: self.now)

    def said(self, work: Callable[[], None]) -> list[str]:
        """What the log says of it, from warnings on."""
        with capturedLogs() as logged:
            work()
        return [str(formatEvent(each)) for each in logged if each["log_level"] >= LogLevel.warn]


class FileTests(FileCase):
    def refused(self) -> str:
        return str(self.assertRaises(WebCertificateRefused, self.certificate(self.files).load))

    def test_start(self) -> None:
        """What cannot be used stops a start with a sentence that names the file."""
        self.assertIn(f"https_key_file {self.files.key} cannot be read: No such file or directory.", self.refused())
        self.write(PAIR, 0o604)
        self.assertIn(f"Anybody on this host can read https_key_file {self.files.key}. Run: chmod o= ", self.refused())
        self.write(PAIR)
        self.files.certificate.write_text(OTHER.pems()[0])
        self.assertIn("cannot be used: its first certificate is not for the key.", self.refused())
        self.files.certificate.write_text("x" * ((1 << 20) + 1))
        self.assertIn("is larger than 1 MiB.", self.refused())

    def test_group(self) -> None:
        """A key for a group is taken: that is how certificates are shared on Debian."""
        self.write(PAIR, 0o640)
        self.certificate(self.files).load()
        self.assertEqual(self.loaded, [7])

    def test_odd(self) -> None:
        """What browsers will not like is said, and taken: nobody should be locked out of SSH by it."""
        self.write(PAIR)
        self.now = 0.0
        said = self.said(self.certificate(self.files, ["else.example.com"]).load)
        self.assertEqual(
            said,
            [
                f"The web certificate {self.files.certificate} is not valid at this time.",
                "The web certificate is self-signed, and browsers warn of it.",
                "The web certificate is not for else.example.com, under which people reach the proxy.",
            ],
        )

    def test_followed(self) -> None:
        """A new pair is used; one that is no good is not, which is said once; unchanged files are not read again."""
        self.write(PAIR)
        web = self.certificate(self.files)
        web.load()
        first = web.context
        web.look()
        self.assertEqual(self.loaded, [7])
        self.files.key.write_text("half of a key")
        said = self.said(web.look)
        self.assertEqual(len(said), 1)
        self.assertIn("The web certificate stays the old one: https_cert_file ", said[0])
        self.assertEqual(self.said(web.look), [])
        self.assertIs(web.context, first)
        self.files.certificate.unlink()
        self.assertIn("cannot be", self.said(web.look)[0])
        self.write(OTHER)
        web.look()
        self.assertEqual(self.loaded, [7, 8])
        self.assertIsNot(web.context, first)

    def test_expired(self) -> None:
        """A pair that has expired takes the place of none."""
        self.write(PAIR)
        web = self.certificate(self.files)
        web.load()
        self.now = NOW + 11 * 365 * 86_400
        self.write(OTHER)
        self.assertIn("is not valid at this time.", self.said(web.look)[0])
        self.assertEqual(self.loaded, [7])


class OwnTests(FileCase):
    def serial(self, hosts: Sequence[str] = HOSTS) -> int:
        self.certificate(hosts=hosts).load()
        return self.loaded[-1]

    def test_kept(self) -> None:
        """Made once, for the proxy alone to read; made anew when it is over, for other names, or damaged."""
        first = self.serial()
        self.assertEqual(stat.S_IMODE((self.folder / "webproxy_key.pem").stat().st_mode), 0o600)
        self.assertEqual(self.serial(), first)
        second = self.serial(["new.example.com"])
        self.assertNotEqual(second, first)
        (self.folder / "webproxy_cert.pem").write_text("rubbish")
        third = self.serial(["new.example.com"])
        self.assertNotIn(third, (first, second))
        self.now += 11 * 365 * 86_400
        self.assertNotIn(self.serial(["new.example.com"]), (first, second, third))

    def test_said(self) -> None:
        """Each start says that nobody vouches for it."""
        said = self.said(self.certificate().load)
        self.assertEqual(len(said), 1)
        self.assertIn("Set proxy_service.https_cert_file and https_key_file.", said[0])

    def test_sample(self) -> None:
        """The cluster's authorities have no part in it."""
        self.certificate().load()
        own = x509.load_pem_x509_certificate((self.folder / "webproxy_cert.pem").read_bytes())
        (issuer,) = samples.HOST_CA.public().x509_certificates()
        self.assertNotEqual(own.issuer, issuer.subject)
