"""Every bound of the auth service, in one place; ``docs/limits.rst`` says what happens at each."""

from __future__ import annotations

# What one connection and one request may take.
MAX_BODY_BYTES = 1 << 20
"""Of a request whose caller has a valid certificate."""
MAX_ANONYMOUS_BODY_BYTES = 64 << 10
"""Of a request without one, whatever its path."""
MAX_CONNECTIONS = 20_000
MAX_CONNECTIONS_PER_ADDRESS = 15_000
"""``teleport.connection_limits.max_connections`` of the configuration replaces it."""

# Joining.
REGISTRATIONS_IN_PROGRESS = 10
FAILED_TOKENS_PER_MINUTE = 20
"""From one address (one /64 of IPv6)."""
MAX_TOKENS = 10_000
TOKEN_TTL_S = 30 * 60.0
MIN_TOKEN_TTL_S = 60.0
MAX_TOKEN_TTL_S = 48 * 3600.0
EXPIRED_TOKENS_KEPT_S = 7 * 24 * 3600.0
"""For how long the digest of an expired token is kept, so that its user hears "expired" and not "unknown"."""
MIN_TOKEN_CHARS = 16
"""Of one that somebody chooses; those that are made have 32."""
HOST_CERTIFICATE_S = 30 * 24 * 3600.0
MAX_HOSTS = 100_000
"""Registered at one time; a registration ends with its certificate."""

# Presence.
LATE_AFTER_BEATS = 1.5
"""A beat is missed when half an interval has passed since it was due."""
OFFLINE_AFTER_BEATS = 3.5
PRESENCE_SWEEP_S = 1.0
PRESENCE_FLUSH_S = 10.0
SUPERSEDED_KEPT = 4
"""Processes of a host that came before the present one, and whose beats are refused."""

# Labels.
MAX_LABELS = 64
MAX_LABEL_VALUE_BYTES = 1024

# People.
MAX_USERS = 100_000
MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 128
SCRYPT_LOG2_N = 15
SCRYPT_R = 8
SCRYPT_P = 3
"""The costs of one hash: 32 MiB, and about a quarter of a second. See ``docs/decisions/password-hash.rst``."""
HASHING_THREADS = 2
HASHES_WAITING = 128
FAILED_LOGINS_BEFORE_LOCKOUT = 5
FAILED_LOGINS_WINDOW_S = 30 * 60.0
LOCKOUT_S = 20 * 60.0
FAILED_LOGINS_PER_MINUTE = 20
"""From one address (one /64 of IPv6), whatever names are tried."""
LOGINS_OF_A_NAME_WAITING = 32
UNKNOWN_NAMES_COUNTED = 1 << 14
"""Names of no user share so many counters of failed logins."""
INVITE_TTL_S = 3600.0
MAX_INVITE_TTL_S = 48 * 3600.0
RESET_TTL_S = 8 * 3600.0
MAX_RESET_TTL_S = 24 * 3600.0
RENEWAL_TTL_S = 10 * 60.0
"""Of the link that a person asks for to change password and second factor."""
MIN_INVITE_TTL_S = 60.0
MAX_INVITES = 10_000
OLD_INVITES_KEPT_S = 7 * 24 * 3600.0
"""For how long a link is remembered that was used or expired, so that its user hears that and not "unknown"."""
FAILED_INVITES_PER_MINUTE = 20
"""From one address, as with logins."""
MAX_BOTS = 10_000
BOT_TOKEN_TTL_S = 3600.0
BOT_CERTIFICATE_S = 3600.0
WEB_SESSION_IDLE_S = 30 * 60.0
WEB_SESSION_S = 12 * 3600.0
WEB_SESSION_TOUCH_S = 60.0
"""A use of a session is written if the last one that was written is so long ago."""
WEB_SESSIONS_PER_USER = 32

# People's certificates.
USER_CERTIFICATE_S = 12 * 3600.0
MIN_USER_CERTIFICATE_S = 60.0
MAX_USER_CERTIFICATE_S = 10 * 365 * 24 * 3600.0
"""The administrator may sign for longer than any role allows, as ``tctl auth sign --ttl=87600h`` shows."""
MAX_PERSONS_CERTIFICATE_S = 30 * 3600.0
"""Of one that a person gets by logging in, whatever the roles say."""
EMERGENCY_CERTIFICATE_S = 90 * 24 * 3600.0
MAX_EMERGENCY_CERTIFICATE_S = 366 * 24 * 3600.0
"""Of certificates that are made in advance."""
MAX_LOGINS = 64

# Access requests.
MAX_ACCESS_REQUESTS = 10_000
ACCESS_REQUESTS_PER_USER = 20
"""Those that are decided and not over are among them."""
PENDING_REQUEST_S = 3600.0

# Roles and locks.
MAX_ROLES = 10_000
MAX_LOCKS = 10_000
MAX_LEASES = 1000
"""Of one kind that one user may have."""
MIN_LEASE_S = 1.0
MAX_LEASE_S = 3600.0

# Sessions and events.
SESSION_S = 30.0
"""A session whose node does not refresh it for as long has ended."""
MAX_SESSIONS_PER_HOST = 10_000
MAX_SESSIONS_IN_REQUEST = 500
MAX_EVENTS_IN_REQUEST = 500
EVENTS_FREE_BYTES = 128 << 20
EVENTS_FREE_SHARE = 0.01
"""Of the disk of the log, what events of hosts leave to auth's own and to its database: the smaller of the two."""
EVENTS_IN_ANSWER = 500
MAX_EVENTS_IN_ANSWER = 10_000

# Recordings of sessions.
MAX_RECORDINGS_PER_HOST = 10_000
"""That are being made at one time."""
RECORDINGS_REMEMBERED = 1024
"""Recordings that are over, of which is remembered what is in their files."""
SLICES_IN_PROGRESS = 256
SLICES_OF_A_HOST_IN_PROGRESS = 32
SLICES_OF_A_RECORDING_WAITING = 4
FILES_AT_ONCE = 4
"""Files of recordings that are read and written at one time; others wait."""
READERS_IN_PROGRESS = 32
STREAM_BYTES = 1 << 20
"""Of a recording in one answer."""
FREE_BYTES = 512 << 20
FREE_SHARE = 0.02
"""Of the disk for recordings, what is kept free for whatever else is on it: the larger of the two."""
RECORDING_SILENT_S = 24 * 3600.0
"""A recording of which nothing came for as long, and whose session is over, is incomplete."""
RECORDINGS_LOOKED_AT_S = 600.0
"""How often such recordings are looked for."""
RECORDINGS_IN_ANSWER = 500
MAX_RECORDINGS_IN_ANSWER = 10_000
MAX_RECORDINGS_SEARCHED = 50_000
RECORDINGS_AT_ONCE = 100
"""That one who lists them looks at before others have their turn."""
LISTS_IN_PROGRESS = 8
LISTS_PER_CALLER = 2
"""Of these, so that nobody keeps all others from theirs."""
PLAYING_REMEMBERED_S = 3600.0
"""For so long, reading on in a recording is one event."""
PLAYERS_REMEMBERED = 4096

# Watches.
WATCH_QUEUE_LINES = 1024
"""Lines that wait for a watcher which does not read; at the next one it is cut."""
WATCHES_PER_CALLER = 64
WATCH_HEARTBEAT_S = 10.0
WATCH_STALL_S = 60.0
"""A watcher that reads nothing for as long is cut, however little waits for it."""

EXPIRE_S = 10.0
"""How often the storage drops what has expired."""

MAX_REMEMBERED_REFUSALS = 4096
"""Refusals that are found without reading the log."""
REFUSALS_KEPT_S = 90 * 86_400.0
"""How long after a refusal its reference is looked for in the log."""
MAX_PLANNED_RESOURCES = 256
"""Roles and users that one plan is about."""
MAX_PLANNED_ROWS = 1000
"""Logins gained, and logins lost, that a plan lists; all are counted."""
PLAN_CALL_S = 0.25
"""How long one call works on a plan; the next call goes on with it."""
PLAN_SLICE_S = 0.02
"""How long a plan is worked on before other calls have their turn."""
