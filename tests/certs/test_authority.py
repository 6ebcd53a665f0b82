"""What the authorities sign, and what they refuse to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from uuid import UUID

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import extensions, keys, names
from teleport_conch.certs.authority import MAX_TTL_S, Authority
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import BadParameter, PrincipalForbidden, TeleportError
from tests.certs import samples
from tests.certs.samples import CLUSTER, HOST_CA, HOST_UUID, NOW, SSH_BLOB, USER_CA

Asked = Mapping[str, object]

_USER: Asked = {"name": "alice", "logins": ["root"], "roles": ["access"], "traits": {}, "ttl_s": 3600, "now": NOW}
_HOST: Asked = {"host_uuid": HOST_UUID, "cluster_name": CLUSTER, "role": "Node", "ttl_s": 3600, "now": NOW}

# What is asked comes out of tables here, and mypy knows no types of what a dictionary gives by name.
_user_ssh: Callable[..., SSHCertificate] = USER_CA.sign_user_ssh
_user_tls: Callable[..., x509.Certificate] = USER_CA.sign_user_tls
_host_ssh: Callable[..., SSHCertificate] = HOST_CA.sign_host_ssh
_host_tls: Callable[..., x509.Certificate] = HOST_CA.sign_host_tls


def user_ssh(**asked: object) -> SSHCertificate:
    return _user_ssh(SSH_BLOB, **{**_USER, **asked})


def user_tls(**asked: object) -> x509.Certificate:
    return _user_tls(samples.TLS_KEY.public_key(), **{**_USER, **asked})


def host_ssh(**asked: object) -> SSHCertificate:
    return _host_ssh(SSH_BLOB, **{**_HOST, "node_name": "web1", "principals": [], **asked})


def host_tls(**asked: object) -> x509.Certificate:
    return _host_tls(samples.TLS_KEY.public_key(), **{**_HOST, "names": [], **asked})


class UserTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """The certificate of a user as a whole."""
        signed = user_ssh(
            logins=["root", "alice", "root"],
            roles=["access", "admin"],
            traits={"logins": ["root"], "groups": ["ops", "dév"]},
            route_to_cluster="Leaf.example",
            critical_options=[("source-address", "10.0.0.0/8"), ("force-command", "uptime")],
        )
        self.assertEqual(signed.kind, "ssh-ed25519-cert-v01@openssh.com")
        self.assertEqual((signed.type, signed.key_id, signed.public_key), (CertificateType.USER, "alice", SSH_BLOB))
        self.assertEqual(signed.principals, ("root", "alice"))
        self.assertEqual((signed.valid_after, signed.valid_before), (NOW - 300, NOW + 3600))
        self.assertEqual(
            signed.critical_options,
            (("force-command", wire.text("uptime")), ("source-address", wire.text("10.0.0.0/8"))),
        )
        self.assertEqual(
            signed.extensions,
            (
                ("permit-agent-forwarding", b""),
                ("permit-port-forwarding", b""),
                ("permit-pty", b""),
                ("teleport-roles", wire.text('{"version":"v1","roles":["access","admin"]}')),
                ("teleport-route-to-cluster", wire.text("leaf.example")),
                ("teleport-traits", wire.text('{"groups":["ops","dév"],"logins":["root"]}')),
            ),
        )
        self.assertEqual(extensions.roles_of(signed), ("access", "admin"))
        self.assertEqual(extensions.traits_of(signed), {"logins": ("root",), "groups": ("ops", "dév")})
        self.assertEqual(SSHCertificate.parse(signed.to_blob()), signed)

    def test_random(self) -> None:
        """Serial and nonce come from the source of randomness that was given, and are as long as they should be."""
        asked: list[int] = []

        def random(count: int) -> bytes:
            asked.append(count)
            return bytes([len(asked)]) * count

        authority = Authority.generate("user", CLUSTER, NOW, random)
        self.assertEqual(authority.tls_keys[0].certificate.serial_number, int.from_bytes(b"\1" * 16, "big"))
        signed = authority.sign_user_ssh(SSH_BLOB, name="alice", logins=["root"], roles=[], traits={}, ttl_s=1, now=NOW)
        self.assertEqual((signed.nonce, signed.serial), (b"\2" * 32, int.from_bytes(b"\3" * 8, "big")))
        self.assertEqual(asked, [16, 32, 8])

    def test_every_type_of_key(self) -> None:
        for key in (samples.rsa_key(), samples.ecdsa_key(256), samples.ecdsa_key(521)):
            blob = keys.public_blob(key.public_key())
            signed = _user_ssh(blob, **_USER)
            self.assertEqual(SSHCertificate.parse(signed.to_blob()).public_key, blob)

    def test_no_logins(self) -> None:
        """A user without logins gets one principal that is nobody's account; nobody else gets such a one."""
        principal = names.no_login_principal(UUID(HOST_UUID))
        self.assertEqual(principal, f"-teleport-nologin-{HOST_UUID}")
        self.assertEqual(user_ssh(logins=[principal]).principals, (principal,))
        for logins in (["root", principal], ["-teleport-internal"], ["-teleport-nologin-x"]):
            self.assertRaises(TeleportError, user_ssh, logins=logins)

    def test_fraction_of_a_second(self) -> None:
        """A certificate is never shorter than was asked for."""
        signed = user_ssh(ttl_s=0.5, now=NOW + 0.7)
        self.assertEqual((signed.valid_after, signed.valid_before), (NOW - 300, NOW + 2))


class HostTests(SynchronousTestCase):
    def test_fields(self) -> None:
        signed = host_ssh(node_name="Web1.", principals=["db.example.com", "10.0.0.5", "2001:DB8::0:1", "web1"])
        self.assertEqual(signed.type, CertificateType.HOST)
        self.assertEqual(signed.key_id, f"{HOST_UUID}.{CLUSTER}")
        self.assertEqual(
            signed.principals,
            (
                *(f"{HOST_UUID}.{CLUSTER}", HOST_UUID, f"web1.{CLUSTER}", "web1"),
                *("db.example.com", "10.0.0.5", "2001:db8::1"),
            ),
        )
        self.assertEqual(signed.critical_options, ())
        self.assertEqual(signed.extension("x-teleport-role"), "Node")
        self.assertEqual(signed.extension("x-teleport-authority"), CLUSTER)
        self.assertGreater(signed.serial, 0)

    def test_loopback_only_when_named(self) -> None:
        loopback = {"localhost", "127.0.0.1", "::1"}
        self.assertFalse(loopback & set(host_ssh().principals))
        self.assertTrue(loopback <= set(host_ssh(principals=sorted(loopback)).principals))

    def test_node_called_by_its_address(self) -> None:
        self.assertEqual(host_ssh(node_name="10.0.0.5").principals[2:], ("10.0.0.5",))

    def test_long_cluster_name(self) -> None:
        cluster = ".".join(["x" * 49] * 4)
        authority = Authority.generate("host", cluster, NOW)
        signed = authority.sign_host_tls(
            samples.TLS_KEY.public_key(),
            host_uuid=HOST_UUID,
            cluster_name=cluster,
            role="Node",
            names=[],
            ttl_s=1,
            now=NOW,
        )
        self.assertIn(f"{HOST_UUID}.{cluster}", str(signed.extensions))
        self.assertRaises(PrincipalForbidden, Authority.generate, "host", cluster + ".xx", NOW)


class RefusalTests(SynchronousTestCase):
    def refused(self, error: type[TeleportError], says: str, sign: Callable[..., object], **asked: object) -> None:
        self.assertIn(says, str(self.assertRaises(error, sign, **asked)))

    def test_40_no_principals(self) -> None:
        for sign in (user_ssh, user_tls):
            self.refused(PrincipalForbidden, "without principals is never signed", sign, logins=[])

    def test_41_names_of_users(self) -> None:
        """Nothing that could be two names, a pattern, a path, an option or invisible is a name."""
        for strange in (
            *("*", "ro*", "roo?", "root,admin", "root\0", "root\n", "ro ot", "\u00a0root", "root\u200b", "\u202eroot"),
            *("-oProxyCommand=x", "../x", "/etc", "..", ".", "%u", "", "x" * 65, "é" * 33, "\ud800", "a\tb", "\x7f"),
        ):
            for sign in (user_ssh, user_tls):
                for asked in (
                    {"name": strange},
                    {"logins": [strange]},
                    {"logins": ["root", strange]},
                    {"roles": [strange]},
                ):
                    self.assertRaises(PrincipalForbidden, sign, **asked)
        self.refused(PrincipalForbidden, r"The login 'root\x00' holds a comma, a wildcard", user_ssh, logins=["root\0"])
        self.refused(PrincipalForbidden, "The user name '-x' begins with a hyphen", user_ssh, name="-x")
        self.refused(PrincipalForbidden, "A role has 1 to 64 bytes", user_ssh, roles=[""])

    def test_usual_names(self) -> None:
        for name in ("alice", "alice@example.com", "DOMAIN\\alice", "josé", "a.b-c_d+e", "x" * 64, "山田"):
            self.assertEqual(user_ssh(name=name, logins=[name]).principals, (name,))
            self.assertEqual(user_tls(name=name, logins=[name]).subject.rdns[0].rfc4514_string()[:3], "CN=")

    def test_reserved_roles(self) -> None:
        """No role of a user is called like one of a service; ``admin`` is built in and an ordinary role."""
        for role in ("Admin", "ADMIN", "Auth", "auth", "Node", "node", "Proxy", "Nop", "Web", "trusted_cluster"):
            for sign in (user_ssh, user_tls):
                self.refused(PrincipalForbidden, f"role name {role!r} is reserved", sign, roles=["access", role])
        self.assertEqual(extensions.roles_of(user_ssh(roles=["admin"])), ("admin",))

    def test_reserved_names(self) -> None:
        """The name that clients of the API verify is given to auth servers only, and never asked for."""
        for name in ("teleport.cluster.local", "Teleport.Cluster.Local.", "x.teleport.cluster.local"):
            self.refused(PrincipalForbidden, "reserved for the auth servers", host_ssh, principals=[name])
            self.refused(PrincipalForbidden, "reserved for the auth servers", host_ssh, node_name=name)
            for role in ("Node", "Auth"):
                self.refused(PrincipalForbidden, "reserved for the auth servers", host_tls, names=[name], role=role)
            self.assertRaises(PrincipalForbidden, Authority.generate, "host", name, NOW)
        self.refused(PrincipalForbidden, "reserved", user_ssh, logins=["teleport.cluster.local"])

    def test_names_of_hosts(self) -> None:
        for name, says in (
            ("*", "is not a host name"),
            ("*.example.com", "is not a host name"),
            ("web?", "is not a host name"),
            ("a,b", "is not a host name"),
            ("a b", "is not a host name"),
            ("web1\0", "is not a host name"),
            ("web1\n", "is not a host name"),
            ("$(id)", "is not a host name"),
            ('"><script>', "is not a host name"),
            ("-web", "is not a host name"),
            ("web-", "is not a host name"),
            ("a..b", "is not a host name"),
            (".a", "is not a host name"),
            ("", "is not a host name"),
            (".", "is not a host name"),
            ("wéb", "is not a host name"),
            ("\u212a", "is not a host name"),
            ("x" * 64, "is not a host name"),
            ("10.0.0.0/8", "is not a host name"),
            ("fe80::1%eth0", "not one that a host has"),
            ("10.0.0.300", "neither an address nor a host name"),
            ("0.0.0.0", "not one that a host has"),
            ("::", "not one that a host has"),
            ("224.0.0.1", "not one that a host has"),
            ("-teleport-nologin-" + HOST_UUID, "is not a host name"),
        ):
            self.refused(PrincipalForbidden, says, host_ssh, principals=[name])
            self.refused(PrincipalForbidden, says, host_ssh, node_name=name)
            self.refused(PrincipalForbidden, says, host_tls, names=[name])

    def test_56_times_to_live(self) -> None:
        for ttl_s in (0, -1, -1e30, MAX_TTL_S + 1, float("nan"), float("inf")):
            for sign in (user_ssh, user_tls, host_ssh, host_tls):
                self.refused(BadParameter, "time to live of a certificate is more than 0", sign, ttl_s=ttl_s)
        self.assertEqual(user_ssh(ttl_s=MAX_TTL_S).valid_before, NOW + MAX_TTL_S)

    def test_42_kinds(self) -> None:
        """Neither authority signs what is the other's."""
        user: Callable[..., object] = HOST_CA.sign_user_ssh
        host: Callable[..., object] = USER_CA.sign_host_ssh
        self.refused(
            BadParameter, "The host authority signs no certificates of a user", lambda: user(SSH_BLOB, **_USER)
        )
        asked = {**_HOST, "node_name": "web1", "principals": []}
        self.refused(
            BadParameter, "The user authority signs no certificates of a host", lambda: host(SSH_BLOB, **asked)
        )

    def test_hosts_of_others(self) -> None:
        for sign in (host_ssh, host_tls):
            self.refused(BadParameter, f"authority of {CLUSTER} signs for no other", sign, cluster_name="other.example")
            self.refused(BadParameter, "has the role Admin, Auth, Node, Proxy, and not 'node'", sign, role="node")
            for unique in ("", "web1", "../x", HOST_UUID.replace("-", ""), f"{{{HOST_UUID}}}", f"urn:uuid:{HOST_UUID}"):
                self.refused(BadParameter, "A host UUID has the form", sign, host_uuid=unique)

    def test_keys(self) -> None:
        """Weak keys, certificates and rubbish are not certified."""
        weak = samples.rsa_key(1024).public_key()
        for blob in (samples.rsa_blob(samples.rsa_key(1024)), user_ssh().to_blob(), b"", SSH_BLOB + b"\0"):
            error = self.assertRaises(BadParameter, _user_ssh, blob, **_USER)
            self.assertIn("This public key is not accepted", str(error))
        self.assertRaises(BadParameter, _user_tls, weak, **_USER)

    def test_critical_options(self) -> None:
        for options, says in (
            ([("permit-root", "")], "'permit-root', which is not known here"),
            ([("force-command", "")], "force-command of the certificate is malformed"),
            ([("verify-required", "yes")], "verify-required of the certificate is malformed"),
            ([("source-address", "10.0.0.1/8")], "no address or CIDR block"),
            ([("force-command", "a"), ("force-command", "b")], "asked for twice"),
        ):
            self.refused(BadParameter, says, user_ssh, critical_options=options)

    def test_bounds(self) -> None:
        """What OpenSSH could not read, and what would not fit a packet, is not signed."""
        many = [f"u{number}" for number in range(257)]
        self.refused(BadParameter, "at most 256 principals", user_ssh, logins=many)
        for count, fits in ((28, True), (31, False)):
            traits = {f"t{number}": ["x" * 1000] for number in range(count)}
            for sign in (user_ssh, user_tls):
                if fits:
                    sign(traits=traits)
                else:
                    self.refused(BadParameter, "would be too long", sign, traits=traits)
        strange_ones: list[dict[str, list[str]]] = [{"a": ["x" * 1025]}, {"a\0": []}, {"a": ["\ud800"]}, {"a": ["b\n"]}]
        for strange in strange_ones:
            for sign in (user_ssh, user_tls):
                self.refused(PrincipalForbidden, "printable texts", sign, traits=strange)


class ResourceTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """An authority that was kept signs on as before."""
        kept = json.loads(json.dumps(USER_CA.to_json(with_secrets=True)))
        again = Authority.from_json(kept)
        self.assertEqual(again, USER_CA)
        signed = again.sign_user_ssh(SSH_BLOB, name="bob", logins=["root"], roles=[], traits={}, ttl_s=60, now=NOW)
        check_ssh_certificate(
            signed,
            type=CertificateType.USER,
            authorities=USER_CA.public().ssh_keys,
            now=NOW,
            principal="root",
            source_address=None,
        )

    def test_without_secrets(self) -> None:
        """What everybody may see holds no private key."""
        text = json.dumps(USER_CA.to_json(with_secrets=False))
        self.assertNotIn("signing_keys", text)
        self.assertNotIn('"key"', text)
        self.assertEqual(json.loads(text), USER_CA.public().to_json())

    def test_secrets_are_not_shown(self) -> None:
        self.assertNotIn("private_key", repr(USER_CA))

    def test_refused(self) -> None:
        other = samples.OTHER_USER_CA
        whole = USER_CA.to_json(with_secrets=True)
        spec = whole["spec"]
        assert isinstance(spec, dict)
        foreign = other.to_json(with_secrets=True)["spec"]
        assert isinstance(foreign, dict)
        swapped = [{"cert": spec["tls_key_pairs"][0]["cert"], "key": foreign["tls_key_pairs"][0]["key"]}]
        for changes, says in (
            ({"signing_keys": []}, "are missing, or are not those"),
            ({"signing_keys": foreign["signing_keys"]}, "are missing, or are not those"),
            ({"signing_keys": [spec["tls_key_pairs"][0]["key"]]}, "have to be Ed25519"),
            ({"tls_key_pairs": []}, "are missing, or are not those"),
            ({"tls_key_pairs": swapped}, "is not that of its certificate"),
            ({"tls_key_pairs": [{"cert": spec["tls_key_pairs"][0]["cert"], "key": spec["signing_keys"][0]}]}, "ECDSA"),
            ({"tls_key_pairs": foreign["tls_key_pairs"]}, "a certificate of another cluster"),
            ({"tls_key_pairs": [{"cert": spec["tls_key_pairs"][0]["cert"]}]}, "missing parameter"),
            ({"type": "jwt"}, "has to be user or host"),
            ({"checking_keys": ["*"]}, "has to be base64 of a text"),
        ):
            error = self.assertRaises(BadParameter, Authority.from_json, {**whole, "spec": {**spec, **changes}})
            self.assertIn(says, str(error))
