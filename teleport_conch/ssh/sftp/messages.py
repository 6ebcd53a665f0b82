"""The messages of the SSH File Transfer Protocol, version 3 (draft-ietf-secsh-filexfer-02), and OpenSSH's extensions.

A frame is uint32 length, byte type, and (but in INIT and VERSION) uint32 request id; what follows is written down in
:data:`FIELDS` and :data:`EXTENSION_FIELDS`, a letter for each field:

======  =======================================================================================
letter  field
======  =======================================================================================
``I``   uint32, an int
``Q``   uint64, an int
``s``   string, bytes
``p``   string without a NUL byte that names a file, bytes; never text, as names are any bytes
``h``   string of at most 256 bytes, a handle
``d``   string that is file data; a memoryview when it is read, so that nothing is copied
``a``   :class:`~teleport_conch.ssh.sftp.codec.Attributes`
``x``   pairs of strings up to the end: the extensions that a side announces
``n``   uint32 count, and as many names: (name, line of a listing, attributes)
``r``   whatever follows, bytes
======  =======================================================================================
"""

from __future__ import annotations

TYPE_CHECKING = False
"""As :data:`typing.TYPE_CHECKING`; importing ``typing`` would double the time that the server takes to start."""
if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 3
MAX_PACKET_BYTES = 256 << 10
"""The longest frame, without its length. OpenSSH has the same bound, and its client believes it."""
MAX_DATA_BYTES = MAX_PACKET_BYTES - 1024
"""The most file data of one READ or WRITE."""
MAX_HANDLE_BYTES = 256
MAX_NAMES = 4096
"""Names in one message."""

INIT, FXP_VERSION = 1, 2
OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR = range(3, 13)
REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(13, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, _, _, OP_UNSUPPORTED = range(9)
STATUS_TEXTS = {
    OK: b"Success",
    EOF: b"End of file",
    NO_SUCH_FILE: b"No such file",
    PERMISSION_DENIED: b"Permission denied",
    FAILURE: b"Failure",
    BAD_MESSAGE: b"Bad message",
    OP_UNSUPPORTED: b"Operation unsupported",
}

FLAG_READ, FLAG_WRITE, FLAG_APPEND, FLAG_CREATE, FLAG_TRUNCATE, FLAG_EXCLUSIVE = 1, 2, 4, 8, 16, 32
"""The ``pflags`` of OPEN (section 6.3)."""

POSIX_RENAME, HARDLINK, FSYNC = b"posix-rename@openssh.com", b"hardlink@openssh.com", b"fsync@openssh.com"
STATVFS, FSTATVFS = b"statvfs@openssh.com", b"fstatvfs@openssh.com"
LSETSTAT, LIMITS, EXPAND_PATH = b"lsetstat@openssh.com", b"limits@openssh.com", b"expand-path@openssh.com"
COPY_DATA, HOME_DIRECTORY = b"copy-data", b"home-directory"
USERS_GROUPS = b"users-groups-by-id@openssh.com"

EXTENSIONS = (
    (POSIX_RENAME, b"1"),
    (STATVFS, b"2"),
    (FSTATVFS, b"2"),
    (HARDLINK, b"1"),
    (FSYNC, b"1"),
    (LSETSTAT, b"1"),
    (LIMITS, b"1"),
    (EXPAND_PATH, b"1"),
    (COPY_DATA, b"1"),
    (HOME_DIRECTORY, b"1"),
    (USERS_GROUPS, b"1"),
)
"""What the server announces: names and versions as OpenSSH has them (PROTOCOL, section 4)."""

FIELDS: Mapping[int, str] = {
    INIT: "Ix",
    FXP_VERSION: "Ix",
    OPEN: "pIa",
    CLOSE: "h",
    READ: "hQI",
    WRITE: "hQd",
    LSTAT: "p",
    FSTAT: "h",
    SETSTAT: "pa",
    FSETSTAT: "ha",
    OPENDIR: "p",
    READDIR: "h",
    REMOVE: "p",
    MKDIR: "pa",
    RMDIR: "p",
    REALPATH: "p",
    STAT: "p",
    RENAME: "pp",
    READLINK: "p",
    SYMLINK: "pp",  # the target before the link, as OpenSSH and everybody has it, and against the draft
    STATUS: "Iss",
    HANDLE: "h",
    DATA: "d",
    NAME: "n",
    ATTRS: "a",
    EXTENDED: "sr",
    EXTENDED_REPLY: "r",
}

EXTENSION_FIELDS: Mapping[bytes, str] = {
    POSIX_RENAME: "pp",
    STATVFS: "p",
    FSTATVFS: "h",
    HARDLINK: "pp",
    FSYNC: "h",
    LSETSTAT: "pa",
    LIMITS: "",
    EXPAND_PATH: "p",
    COPY_DATA: "hQQhQ",
    HOME_DIRECTORY: "p",
    USERS_GROUPS: "ss",
}
