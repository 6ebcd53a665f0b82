"""The identity for tctl on the auth host."""

from __future__ import annotations

import os
from pathlib import Path

from teleport_conch.auth.hosts.own import OwnIdentity
from teleport_conch.auth.state import storing
from teleport_conch.auth.state.authorities import path
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.certs.tls import load_certificate_pem
from teleport_conch.certs.trust import check_tls_certificate
from teleport_conch.client.identity_store import IdentityStore
from tests.auth.fixture import AUTH, CLUSTER, NOW, ClusterTestCase


class OwnIdentityTests(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = IdentityStore(Path(self.mktemp()), os.urandom)
        self.own = OwnIdentity(self.clocks, self.cluster.authorities, self.store, AUTH, "auth1")
        self.own.renew_if_due()

    def identity(self) -> HostIdentity:
        found = self.store.load("Admin")
        assert found is not None
        return found

    def test_made(self) -> None:
        """Of the role Admin, for 30 days, and for nobody else's eyes."""
        certificate = load_certificate_pem(self.identity().tls_certificate)
        identity = check_tls_certificate(certificate, self.cluster.authorities.trusted, NOW)
        self.assertEqual((identity.kind, identity.name, identity.roles), ("host", AUTH, ("Admin",)))
        self.assertEqual(identity.not_after, NOW + 30 * 86_400)
        self.assertEqual((self.store.data_dir / "identities" / "admin.json").stat().st_mode & 0o777, 0o600)

    def test_renewed_at_half_life(self) -> None:
        """Not before."""
        first = self.identity()
        self.clock.advance(14 * 86_400)
        self.own.renew_if_due()
        self.assertEqual(self.identity(), first)
        self.clock.advance(86_400)
        self.own.renew_if_due()
        self.assertEqual(self.identity().not_after, first.not_after + 15 * 86_400)

    def test_renewed_with_the_authorities(self) -> None:
        """An identity of the authority that signs now, which brings the authorities of now."""
        other = Authority.generate("host", CLUSTER, NOW)
        self.now(self.backend.put(path("host", CLUSTER), storing.encode(other.to_json(with_secrets=True))))
        self.now(self.cluster.authorities.reload())
        self.own.renew_if_due()
        certificate = load_certificate_pem(self.identity().tls_certificate)
        check_tls_certificate(certificate, self.cluster.authorities.trusted, NOW)
