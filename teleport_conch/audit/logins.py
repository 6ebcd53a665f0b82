"""What events say of somebody who logs in: who it is, and why they were refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from teleport_conch.access.decision import Denial
from teleport_conch.access.reference import new_reference
from teleport_conch.certs.refusal import Asked, refusal_lines
from teleport_conch.errors import AccessDenied, CertificateRefused, TeleportError
from teleport_conch.ssh.login.policy import Attempt, Claim


def who(claim: Claim | Attempt) -> dict[str, object]:
    """The fields by which every event names a person who logs in; who shows nothing that can be read has no name."""
    user = claim.certificate.key_id if isinstance(claim, Claim) else ""
    return {"user": user, "login": claim.user, "addr_remote": claim.client_address}


def why(refusal: TeleportError, random: Callable[[int], bytes]) -> dict[str, object]:
    """The fields by which every event says what was refused: the sentence, and where roles decided, role by role.

    Who was refused for want of a right, or by a certificate, is told a reference, by which the event is found.

    :param random: so many random bytes.
    """
    fields: dict[str, object] = {"error": refusal.sentence}
    if isinstance(refusal, AccessDenied | CertificateRefused):
        refusal.refer_to(new_reference(random))
        fields["reference"] = refusal.facts["reference"]
    return {**fields, "trace": refusal.trace.lines()} if isinstance(refusal, Denial) else fields


def why_certificate(
    claim: Claim | Attempt, refusal: TeleportError, random: Callable[[int], bytes], asked: Callable[[], Asked]
) -> dict[str, object]:
    """The same, and where the certificate decided, check by check.

    :param asked: what the certificate was looked at for. Raises TeleportError where that is not known any more.
    """
    fields = why(refusal, random)
    if isinstance(claim, Claim) and isinstance(refusal, CertificateRefused):
        with suppress(TeleportError):
            fields["trace"] = refusal_lines(claim.certificate, refusal, asked())
    return fields
