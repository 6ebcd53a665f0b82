"""The simplest policy there is: whoever holds a certificate of a trusted authority may log in."""

from __future__ import annotations

from collections.abc import Callable, Collection

from attrs import frozen

from teleport_conch.certs.certificate import CertificateType
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.ssh.connection.channel import ChannelOwner
from teleport_conch.ssh.login.policy import Claim, LoginPolicy


@frozen
class CertificatePolicy(LoginPolicy):
    """Trusts authorities; the user name has to be a principal of the certificate.

    :ivar authorities: their public keys, as SSH blobs.
    :ivar now: answers POSIX seconds.
    :ivar welcome: answers the owner of the channels of one who has logged in.
    """

    authorities: Collection[bytes]
    now: Callable[[], float]
    welcome: Callable[[Claim], ChannelOwner]

    def check(self, claim: Claim) -> None:
        check_ssh_certificate(
            claim.certificate,
            type=CertificateType.USER,
            authorities=self.authorities,
            now=self.now(),
            principal=claim.user,
            source_address=claim.client[0],
        )

    async def login(self, claim: Claim) -> ChannelOwner:
        self.check(claim)
        return self.welcome(claim)
