"""How a host renews its certificates: what is its own, with what its token bound, and for the host key that it has."""

from __future__ import annotations

from attrs import define, evolve

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.hosts.applying import Applicant, Applications, other_name, other_principals
from teleport_conch.auth.hosts.hosts import KIND_OF_ROLE, Hosts, Registration
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.limits import HOST_CERTIFICATE_S
from teleport_conch.certs import names
from teleport_conch.certs.tls import TLSIdentity
from teleport_conch.errors import AccessDenied, HostBarred, TokenBinding
from teleport_conch.resources.joining import JoinAnswer, JoinRequest


@define(eq=False)
class Renewing:
    """Certifies hosts anew that are in the cluster."""

    _clocks: Clocks
    _hosts: Hosts
    _applications: Applications
    _emit: Emit

    async def renew(self, request: JoinRequest, identity: TLSIdentity, address: str) -> JoinAnswer:
        """New certificates for a host that has some.

        :param identity: the caller; it renews what is its own and nothing else.
        :raises AccessDenied: the request is for another host or role.
        :raises HostBarred: it is for another host key.
        :raises JoinRefused: names that the host may not have.
        """
        if identity.kind != "host" or request.host_uuid != identity.name or (request.role,) != identity.roles:
            raise AccessDenied("A host renews its own certificates, for its own role, and no others.")
        registration = self._hosts.get(HostKey(KIND_OF_ROLE.get(request.role, ""), request.host_uuid))
        if registration is None:
            raise HostBarred(f"The host {request.host_uuid} is not registered; it has to join again.")
        applicant = self._applications.read(request, identity.name, names.host_name(request.node_name), address)
        self._check_host_key(applicant, registration, address)
        applicant = self._as_registered(applicant, registration, address)
        renewed = evolve(
            registration,
            node_name=applicant.node_name,
            principals=applicant.principals,
            dns_names=applicant.dns_names,
            expires_at=self._clocks.wall() + HOST_CERTIFICATE_S,
            host_key=applicant.host_key,
        )
        answer = self._applications.certify(applicant, renewed)
        await self._hosts.keep(renewed)
        fields = {"cert_type": "host", "name": identity.name, "roles": [request.role], "principals": renewed.principals}
        self._emit("cert.create", {**fields, "expires": renewed.expires_at, "method": "renewal"})
        return answer

    def _check_host_key(self, applicant: Applicant, registration: Registration, address: str) -> None:
        """The identity of a host is in the hands of what speaks with the network, and its host key need not be.

        :raises HostBarred: who has the one would be the host to people with another key.
        """
        if registration.host_key in ("", applicant.host_key):
            return
        reason = HostBarred(
            f"The host {applicant.host_uuid} joined with another host key, and no certificate is renewed for this one."
            " Put the former key back, or give the host a new token in auth_token and restart it."
        )
        fields = {"cert_type": "host", "name": applicant.host_uuid, "roles": [applicant.role], "method": "renewal"}
        self._emit("cert.create", {**fields, "error": reason.sentence, "addr.remote": address}, success=False)
        raise reason

    def _as_registered(self, applicant: Applicant, registration: Registration, address: str) -> Applicant:
        """The applicant with what its token bound, once anything else that is new to it is allowed."""
        if registration.name_bound and applicant.node_name != registration.node_name:
            raise TokenBinding(other_name(registration.node_name, applicant.node_name))
        asked = applicant.principals + applicant.dns_names
        had = set(registration.principals + registration.dns_names)
        new = tuple(name for name in asked if name not in had)
        if registration.principals_bound:
            others = set(new) - registration.all_names
            if others:
                raise TokenBinding(other_principals(registration.principals, others))
            applicant = evolve(applicant, principals=registration.principals)
        if new or applicant.node_name != registration.node_name:
            self._applications.check_names(applicant, new, address)
        return applicant
