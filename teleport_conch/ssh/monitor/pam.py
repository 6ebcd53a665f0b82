"""PAM (Linux-PAM, or OpenPAM with the same numbers) through its C library, for the sessions of one account.

Only what a login with a certificate needs: account, credentials, session, environment. A module that asks a question
gets no answer: the login is over by then.
"""

from __future__ import annotations

import ctypes
import os

from teleport_conch.ssh.monitor.host import Refusal

PAM_TTY = 3
PAM_RHOST = 4
_SUCCESS = 0
_NEW_PASSWORD_DUE = 12
_CONVERSATION_ERROR = 19
_ESTABLISH, _DELETE, _REINITIALIZE = 0x2, 0x4, 0x8
_ERROR_MESSAGE, _TEXT = 3, 4
MAX_MESSAGES_BYTES = 32 << 10
_HIDDEN = ("SSH_AUTH_INFO", "SSH_CONNECTION")
"""Variables that modules do not set for a session, as with ``sshd``."""


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Response(ctypes.Structure):
    _fields_ = (("text", ctypes.c_void_p), ("code", ctypes.c_int))


_Converse = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
)


class _Conversation(ctypes.Structure):
    _fields_ = (("converse", _Converse), ("data", ctypes.c_void_p))


class Library:
    """The C library, loaded once for all sessions. Raises :class:`OSError` where the host has none.

    :ivar template: a handle that keeps the modules of a service loaded.
    """

    def __init__(self) -> None:
        self.template: Transaction | None = None
        self.pam = ctypes.CDLL("libpam.so.0")
        self.c = ctypes.CDLL(None)
        self.c.calloc.restype = ctypes.c_void_p
        self.c.calloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
        self.c.free.argtypes = (ctypes.c_void_p,)
        self.pam.pam_strerror.restype = ctypes.c_char_p
        self.pam.pam_getenvlist.restype = ctypes.POINTER(ctypes.c_void_p)

    def transaction(self, service: str, user: str) -> Transaction:
        """Begins with PAM for one user. Raises :class:`Refusal` where the service's file is unusable."""
        return Transaction(self, service, user)


class Transaction:
    """A PAM handle. What modules have to say is kept in ``messages``, for a person who has a terminal."""

    def __init__(self, library: Library, service: str, user: str) -> None:
        self.messages = ""
        self._library = library
        self._pam = library.pam
        self._handle = ctypes.c_void_p()
        # Kept with the handle: the library calls it as long as that lives.
        self._conversation = _Conversation(_Converse(self._converse), None)
        status = self._pam.pam_start(
            service.encode(), os.fsencode(user), ctypes.byref(self._conversation), ctypes.byref(self._handle)
        )
        if status != _SUCCESS:
            raise Refusal(f"PAM cannot be used: its service {service} is not set up on this host.", "SPAWN_FAILED")

    def describe(self, item: int, value: str) -> None:
        """Says where the person is: :data:`PAM_TTY`, :data:`PAM_RHOST`."""
        self._pam.pam_set_item(self._handle, item, os.fsencode(value))

    def check_account(self) -> None:
        """Whether the account may be used now.

        :raises Refusal: it may not, or its password has to be changed first.
        """
        status = self._pam.pam_acct_mgmt(self._handle, 0)
        if status == _NEW_PASSWORD_DUE:
            raise Refusal("The password of this account has to be changed before it can be used; do so on the host.")
        self._expect(status, "does not let the account in")

    def open_session(self) -> None:
        """Credentials and session, in the order of ``sshd``."""
        self._expect(self._pam.pam_setcred(self._handle, _ESTABLISH), "cannot set credentials")
        self._expect(self._pam.pam_open_session(self._handle, 0), "does not open a session")

    def refresh_credentials(self) -> None:
        """In the process that becomes the session, once its groups are set; modules may add some."""
        self._expect(self._pam.pam_setcred(self._handle, _REINITIALIZE), "cannot set credentials")

    def environment(self) -> dict[str, str]:
        """The variables that modules want the session to have."""
        variables: dict[str, str] = {}
        entries = self._pam.pam_getenvlist(self._handle)
        at = 0
        while entries and entries[at]:
            name, _, value = os.fsdecode(ctypes.string_at(entries[at])).partition("=")
            if not name.startswith(_HIDDEN):
                variables[name] = value
            self._library.c.free(entries[at])
            at += 1
        if entries:
            self._library.c.free(entries)
        return variables

    def close_session(self) -> None:
        """The session's processes have ended; what fails now is nobody's to hear."""
        self._pam.pam_close_session(self._handle, 0)
        self._pam.pam_setcred(self._handle, _DELETE)
        self.end()

    def end(self) -> None:
        self._pam.pam_end(self._handle, _SUCCESS)

    def _expect(self, status: int, failed: str) -> None:
        if status == _SUCCESS:
            return
        reason = os.fsdecode(self._pam.pam_strerror(self._handle, status) or b"")
        said = " ".join(self.messages.split())
        raise Refusal(f"PAM {failed}: {reason}.{' ' if said else ''}{said}")

    def _converse(self, count: int, messages: object, responses: object, data: object) -> int:
        """Takes down what is told. Called by the library, with an array that it will free."""
        for at in range(count):
            message = messages[at].contents  # type: ignore[index]  # ctypes has no types for it
            if message.style not in (_ERROR_MESSAGE, _TEXT):
                return _CONVERSATION_ERROR
            text = os.fsdecode(message.text or b"")
            self.messages = f"{self.messages}{text}\n"[:MAX_MESSAGES_BYTES]
        responses[0] = self._library.c.calloc(count, ctypes.sizeof(_Response))  # type: ignore[index]
        return _SUCCESS
