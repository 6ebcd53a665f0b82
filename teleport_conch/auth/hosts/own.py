"""The identity with which ``tctl`` speaks to the auth service on the same host: role Admin, in a file that only the
service's account can read.
"""

from __future__ import annotations

from attrs import define, field

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.limits import HOST_CERTIFICATE_S
from teleport_conch.auth.state.authorities import Authorities
from teleport_conch.certs import keys
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.certs.tls import certificate_pem
from teleport_conch.client.identity_store import IdentityStore

ADMIN = "Admin"


@define(eq=False)
class OwnIdentity:
    """Keeps the identity in ``data_dir`` fresh."""

    _clocks: Clocks
    _authorities: Authorities
    _store: IdentityStore
    _host_uuid: str
    _node_name: str
    _renew_at: float = field(init=False, default=0.0)
    _generation: int = field(init=False, default=-1)

    def renew_if_due(self) -> None:
        """Renew at half-life, and when the authorities have changed."""
        if self._clocks.wall() >= self._renew_at or self._generation != self._authorities.generation:
            self.renew()

    def renew(self) -> None:
        """Put a new identity in the place of the old one, which stays good until it ends."""
        identity = admin_identity(self._authorities, self._host_uuid, self._node_name, self._clocks.wall())
        self._store.save(identity)
        self._renew_at, self._generation = identity.renew_at(), self._authorities.generation


def admin_identity(authorities: Authorities, host_uuid: str, node_name: str, now: float) -> HostIdentity:
    """A new one, with keys of its own, good for 30 days.

    :param host_uuid: of the auth server.
    :param now: POSIX seconds.
    """
    ssh_key, tls_key, cluster = keys.generate_ssh_key(), keys.generate_tls_key(), authorities.cluster_name
    ssh = authorities.host.sign_host_ssh(
        keys.public_blob(ssh_key.public_key()),
        host_uuid=host_uuid,
        node_name=node_name,
        cluster_name=cluster,
        principals=(),
        role=ADMIN,
        ttl_s=HOST_CERTIFICATE_S,
        now=now,
    )
    tls = authorities.host.sign_host_tls(
        tls_key.public_key(),
        host_uuid=host_uuid,
        cluster_name=cluster,
        role=ADMIN,
        names=(),
        ttl_s=HOST_CERTIFICATE_S,
        now=now,
    )
    trusted: tuple[PublicAuthority, ...] = (authorities.public("user"), authorities.public("host"))
    return HostIdentity(
        host_uuid=host_uuid,
        node_name=node_name,
        cluster_name=cluster,
        role=ADMIN,
        ssh_key=keys.ssh_private_pem(ssh_key),
        ssh_certificate=ssh.to_line(),
        tls_key=keys.private_pem(tls_key),
        tls_certificate=certificate_pem(tls),
        authorities=trusted,
    )
