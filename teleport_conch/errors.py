"""Every refusal and failure of ours: one stable code, one HTTP status, one sentence for the person at the keyboard.

An error is raised where the fact is known, and turned into a status line, an SSH reason or a line on stderr at one edge
per program. The body that the API answers is ``{"error": {"code": CODE, "message": SENTENCE, ...facts}}``;
:func:`from_json` makes the same error of it again on the client's side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

Fact = str | int | float | bool | None | list[str]


class TeleportError(Exception):
    """The root of all errors that a person may see.

    :param sentence: what happened and what to do about it, as a sentence without secrets.
    :param facts: what a program may want beside the sentence (seconds of skew, the candidates of an ambiguous name).
    """

    code: ClassVar[str] = "INTERNAL"
    http_status: ClassVar[int] = 500

    def __init__(self, sentence: str, **facts: Fact) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.facts: dict[str, Fact] = facts

    def refer_to(self, reference: str) -> None:
        """Tell the person a reference, under which the log has more about this; once."""
        if "reference" not in self.facts:
            self.facts["reference"] = reference
            self.sentence = f"{self.sentence} (reference {reference})"
            self.args = (self.sentence,)

    def to_json(self) -> dict[str, object]:
        """The body of an API answer that carries this error."""
        return {"error": {**self.facts, "code": self.code, "message": self.sentence}}


# What the API answers for want of anything more exact (Teleport's table of statuses).


class BadParameter(TeleportError):
    """The request itself is wrong; sending it again will not help."""

    code = "BAD_PARAMETER"
    http_status = 400


class Unauthenticated(TeleportError):
    """No certificate, or one that says nothing to us, where the route needs a caller."""

    code = "UNAUTHENTICATED"
    http_status = 401


class AccessDenied(TeleportError):
    """The caller is known and may not do this. ``reference`` finds the full trace of the decision."""

    code = "ACCESS_DENIED"
    http_status = 403


class NotHeld(AccessDenied):
    """A change to a role or a user would give somebody what the caller does not have."""

    code = "NOT_HELD"


class HostLocked(AccessDenied):
    """The caller is a node that an administrator has locked: nobody logs in to it as long as the lock is in force."""

    code = "HOST_LOCKED"


class NotFound(TeleportError):
    code = "NOT_FOUND"
    http_status = 404


class AlreadyExists(TeleportError):
    code = "ALREADY_EXISTS"
    http_status = 409


class InUse(TeleportError):
    """It cannot be removed as long as others depend on it; the sentence says which."""

    code = "IN_USE"
    http_status = 409


class LastAdministrator(TeleportError):
    """A change would leave nobody who may change roles and users; it can be forced."""

    code = "LAST_ADMINISTRATOR"
    http_status = 409


class Compacted(TeleportError):
    """A watch asked for changes that are no longer kept; take a snapshot again."""

    code = "COMPACTED"
    http_status = 410


class CompareFailed(TeleportError):
    """Somebody else changed the resource since it was read."""

    code = "COMPARE_FAILED"
    http_status = 412


class TooLarge(TeleportError):
    code = "TOO_LARGE"
    http_status = 413


class LimitExceeded(TeleportError):
    """A bound was met; the sentence names the setting."""

    code = "LIMIT_EXCEEDED"
    http_status = 429


class NotBuilt(TeleportError):
    """Something that Teleport has, and this program does not have yet."""

    code = "NOT_IMPLEMENTED"
    http_status = 501


class ConnectionProblem(TeleportError):
    """The other side could not be reached, or stopped in the middle of an answer."""

    code = "CONNECTION_PROBLEM"
    http_status = 504


class AmbiguousName(TeleportError):
    """A name or label matches several nodes; ``candidates`` lists them."""

    code = "AMBIGUOUS_NAME"
    http_status = 404


# Starting a service.


class StartError(TeleportError):
    """A service cannot start: printed as a sentence, exit code 1, no traceback."""

    code = "START"


class ConfigError(StartError):
    """The configuration file; the sentence holds one line for each mistake, with file and line."""

    code = "CONFIG"


class PortInUse(StartError):
    code = "PORT_IN_USE"


class UnsafePath(StartError):
    """A file or folder that others can read or write where they must not."""

    code = "UNSAFE_PATH"


class AccountShared(StartError):
    """An account that speaks with the network could read what another one's service keeps."""

    code = "ACCOUNT_SHARED"


# Joining.


class JoinRefused(TeleportError):
    """The root of what a joining host may hear."""

    code = "JOIN_REFUSED"
    http_status = 403


class TokenUnknown(JoinRefused):
    code = "TOKEN_UNKNOWN"


class TokenExpired(JoinRefused):
    code = "TOKEN_EXPIRED"


class TokenUsed(JoinRefused):
    """The token was good once, and has been used."""

    code = "TOKEN_USED"


class TokenRole(JoinRefused):
    """The token is good, for other roles than the one asked for."""

    code = "TOKEN_ROLE"
    http_status = 400


class TokenType(JoinRefused):
    """A secret of another kind (an invitation, a trusted cluster's token) sent where a join token is due."""

    code = "TOKEN_TYPE"


class TokenBinding(JoinRefused):
    """The token binds a name, principals or labels, and the host asks for others."""

    code = "TOKEN_BINDING"


class IdentityCopied(JoinRefused):
    """A robot's certificates were renewed before by somebody else who has them; the robot is locked."""

    code = "IDENTITY_COPIED"


class PinMalformed(JoinRefused):
    code = "PIN_MALFORMED"
    http_status = 400


class PinMismatch(JoinRefused):
    code = "PIN_MISMATCH"


class PrincipalTaken(JoinRefused):
    """Another live identity holds a principal that the host asks for."""

    code = "PRINCIPAL_TAKEN"
    http_status = 409


class PrincipalForbidden(JoinRefused):
    """A reserved name, or one that no certificate of ours may carry."""

    code = "PRINCIPAL_FORBIDDEN"


class HostBarred(JoinRefused):
    """The identity was removed; its host has to join again."""

    code = "HOST_BARRED"


class HostDuplicate(JoinRefused):
    """Two hosts use one host UUID; the second is refused."""

    code = "HOST_DUPLICATE"
    http_status = 409


class ClockSkew(TeleportError):
    """The two clocks differ; ``seconds`` is how far the refused side is behind (positive) or ahead (negative)."""

    code = "CLOCK_SKEW"
    http_status = 401


# People.


class LoginRefused(TeleportError):
    """User name, password or second factor is wrong. Which of them, nobody is told who does not know them all."""

    code = "LOGIN_REFUSED"
    http_status = 401


class LockedOut(TeleportError):
    """Too many logins failed under this name, whether or not there is such a user; ``seconds`` is how long it lasts."""

    code = "LOCKED_OUT"
    http_status = 429


class PasswordRefused(TeleportError):
    """A new password is too short, too long, or among the first that anybody would guess."""

    code = "PASSWORD_REFUSED"
    http_status = 400


class OTPRefused(TeleportError):
    """The code is not one of the second factor that is being set up."""

    code = "OTP_REFUSED"
    http_status = 400


class InviteRefused(TeleportError):
    """The root of what may be wrong with an invitation or a link to reset a password."""

    code = "INVITE_REFUSED"
    http_status = 403


class InviteUnknown(InviteRefused):
    """There is no such link; it was cut short, replaced by another, or is a secret of another kind."""

    code = "INVITE_UNKNOWN"


class InviteExpired(InviteRefused):
    code = "INVITE_EXPIRED"


class InviteUsed(InviteRefused):
    """The link has done what it is for."""

    code = "INVITE_USED"


class SessionEnded(TeleportError):
    """The session of a browser has ended, or never was; log in again."""

    code = "SESSION_ENDED"
    http_status = 401


# Certificates.


class CertificateRefused(TeleportError):
    """The root of all that can be wrong with an SSH or TLS certificate."""

    code = "CERT_REFUSED"
    http_status = 401


class CertificateMalformed(CertificateRefused):
    code = "CERT_MALFORMED"
    http_status = 400


class CertificateType(CertificateRefused):
    """A host certificate where a user's is due, the reverse, or a key type that is not supported."""

    code = "CERT_TYPE"


class CertificateAuthorityUnknown(CertificateRefused):
    code = "CERT_CA_UNKNOWN"


class CertificateAlgorithm(CertificateRefused):
    """Signed with an algorithm that is not accepted from an authority (SHA-1, say)."""

    code = "CERT_CA_ALGORITHM"


class CertificateSignature(CertificateRefused):
    code = "CERT_SIGNATURE"


class CertificateNotYetValid(CertificateRefused):
    code = "CERT_NOT_YET_VALID"


class CertificateExpired(CertificateRefused):
    code = "CERT_EXPIRED"


class CertificatePrincipal(CertificateRefused):
    """No principals at all, or none that is the name asked for."""

    code = "CERT_PRINCIPAL"


class CertificateCriticalOption(CertificateRefused):
    code = "CERT_CRITICAL_OPTION"


class EmergencyOnly(CertificateRefused):
    """A certificate that was made for emergencies, on another day."""

    code = "CERT_EMERGENCY_ONLY"


class CertificateSourceAddress(CertificateRefused):
    code = "CERT_SOURCE_ADDRESS"


# Storage.


class StorageError(StartError):
    """The database cannot be used; what was acknowledged before is still there."""

    code = "STORAGE"


class StorageCorrupt(StorageError):
    code = "STORAGE_CORRUPT"


class StorageNewer(StorageError):
    """A newer program wrote the database in a form that this one must not touch."""

    code = "STORAGE_NEWER"


class StorageInUse(StorageError):
    """Another process has the database open; only one may."""

    code = "STORAGE_IN_USE"


class StorageFull(StorageError):
    """The disk is full: the write was refused, and nothing of it was kept."""

    code = "STORAGE_FULL"
    http_status = 507


# Sessions.


class RecordingOrder(TeleportError):
    """A slice does not follow the last one that auth has: ``next`` is the index that is due, ``head`` (64 hexadecimal
    digits) the digest of the last one, zeros where there is none; ``at_us`` is the time of its last record.
    """

    code = "RECORDING_ORDER"
    http_status = 409


class RecordingClosed(TeleportError):
    """The recording has its last slice, and takes no more."""

    code = "RECORDING_CLOSED"
    http_status = 409


class DiskLow(TeleportError):
    """Auth's disk has less room than is kept free: nothing was written; it is worth trying again later."""

    code = "DISK_LOW"
    http_status = 507


class NotRecorded(TeleportError):
    """A session that has to be recorded cannot be: it is not started, or ends."""

    code = "NOT_RECORDED"


class SpawnFailed(TeleportError):
    """This host could not make the process or the terminal of a session: a limit was met, or a program is missing."""

    code = "SPAWN_FAILED"


def _all(root: type[TeleportError]) -> dict[str, type[TeleportError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_all(child))
    return found


def by_code() -> dict[str, type[TeleportError]]:
    """Every error of this file by its code (the table in ``docs/errors.rst`` is compared with it)."""
    return _all(TeleportError)


def from_json(body: object) -> TeleportError:
    """The error that :meth:`TeleportError.to_json` was called on; anything else becomes a plain root error."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return TeleportError("The other side failed without saying why.")
    facts = {str(key): value for key, value in error.items() if key not in ("code", "message", "sentence", "self")}
    kind = by_code().get(str(error.get("code")), TeleportError)
    return kind(str(error.get("message", "The other side failed without saying why.")), **facts)
