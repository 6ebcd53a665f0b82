"""Resources as tables: which columns there are, and what stands in them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from teleport_conch.access.roles import Role
from teleport_conch.cli.instants import moment, rfc822, span
from teleport_conch.cli.table import fitted, inert, pairs, table, terminal_width
from teleport_conch.resources.access_request import AccessRequest
from teleport_conch.resources.bot import Bot
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.recording import Recording
from teleport_conch.resources.server import Presence, Server
from teleport_conch.resources.session import ActiveSession
from teleport_conch.resources.token import JoinToken
from teleport_conch.resources.user import User

#: Fields of an event that have columns, or say nothing to people (success is the last letter of the code).
_NOT_DETAILS = frozenset(
    (
        *("time", "event", "code", "user", "login", "server_id", "server_hostname"),
        *("uid", "ei", "cluster_name", "namespace", "success"),
    )
)


def plan_table(plan: Mapping[str, object]) -> str:
    """What a change would mean, as auth worked it out: how many gain and lose, and the first of them."""
    counted = plan.get("counts")
    counts = counted if isinstance(counted, Mapping) else {}
    rows = [row for key in ("gained", "lost") for row in _accesses(key, plan.get(key))]
    heading = (
        f"Users looked at: {counts.get('users')}. Logins gained: {counts.get('gained')}, lost: {counts.get('lost')}."
        " Nothing was changed.\n"
    )
    more = "\nThe list is cut; the counts are whole.\n" if _total(counts) > len(rows) else ""
    return heading + (f"\n{table(('Change', 'User', 'Login', 'Node', 'By role'), rows)}{more}" if rows else "")


def _accesses(change: str, value: object) -> list[tuple[str, ...]]:
    keys = ("user", "login", "node", "role")
    items = value if isinstance(value, list) else []
    return [(change, *(str(each.get(key, "")) for key in keys)) for each in items if isinstance(each, Mapping)]


def _total(counts: Mapping[object, object]) -> int:
    return sum(count for key in ("gained", "lost") if isinstance(count := counts.get(key), int))


def node_table(nodes: Sequence[Server], now: float) -> str:
    """Columns and order of ``tctl nodes ls``, then why nodes cannot be reached.

    :param now: POSIX seconds.
    """
    columns = ("Nodename", "UUID", "Address", "Labels", "State", "Last seen")
    rows = [
        (node.hostname, node.name, node.addr, pairs(node.all_labels), *presence_cells(node.presence, now))
        for node in nodes
    ]
    notes = "".join(_unreachable(node) for node in nodes if node.presence.unreachable)
    return _fitting(columns, rows, "Labels") + (f"\n{notes}" if notes else "")


def _fitting(columns: Sequence[str], rows: Sequence[Sequence[str]], cut: str) -> str:
    """A table that fits the terminal on which it is shown; elsewhere nothing of it is missing.

    :param cut: the column that gives way.
    """
    return table(columns, fitted(columns, rows, columns.index(cut), terminal_width(sys.stdout)))


def _unreachable(node: Server) -> str:
    return f"{inert(node.hostname)} cannot be reached by a proxy: {inert(node.presence.unreachable)}\n"


def proxy_table(proxies: Sequence[Server], now: float) -> str:
    columns = ("Nodename", "UUID", "Address", "Public address", "Web address", "State", "Last seen")
    rows = [
        (
            proxy.hostname,
            proxy.name,
            proxy.addr,
            ",".join(proxy.public_addrs),
            ",".join(proxy.web_public_addrs) or proxy.web_addr,
            *presence_cells(proxy.presence, now),
        )
        for proxy in proxies
    ]
    return _fitting(columns, rows, "Web address")


def presence_cells(presence: Presence, now: float) -> tuple[str, str]:
    """State and "last seen" of a host."""
    state = presence.state.value + (", unreachable" if presence.unreachable else "")
    if presence.last_seen_at is None:
        return state, "never"
    return state, f"{moment(presence.last_seen_at)} ({span(now - presence.last_seen_at)} ago)"


def token_table(tokens: Sequence[JoinToken], now: float) -> str:
    """Tokens go by their ids here: the secrets are not kept."""
    columns = ("Token", "Type", "Expiry Time (UTC)", "Made by")
    rows = [(token.id, ",".join(token.roles), _expiry(token, now), token.created_by) for token in tokens]
    return table(columns, rows)


def _expiry(token: JoinToken, now: float) -> str:
    if token.expires_at is None:
        return "never"
    return f"{rfc822(token.expires_at)} ({span(token.expires_at - now)})"


def role_table(roles: Sequence[Role]) -> str:
    """Columns of Teleport's."""
    columns = ("Role", "Allowed to login as", "Node Labels", "Access to resources")
    return _fitting(columns, [(role.name, *_allowed(role)) for role in roles], "Access to resources")


def _allowed(role: Role) -> tuple[str, str, str]:
    allow = role.allow
    labels = ",".join(f"{key}={'|'.join(values)}" for key, values in allow.node_labels.pairs)
    rules = (f"{'+'.join(rule.resources)}:{'+'.join(rule.verbs)}" for rule in allow.rules)
    return ",".join(allow.logins), labels, ",".join(rules)


def user_table(users: Sequence[User], now: float) -> str:
    columns = ("User", "Roles", "Allowed logins", "State")
    rows = [(user.name, ",".join(user.roles), ",".join(user.logins), _user_state(user, now)) for user in users]
    return _fitting(columns, rows, "Allowed logins")


def _user_state(user: User, now: float) -> str:
    if not user.in_force_at(now):
        return "expired"
    if user.lock is not None and now < user.lock.until:
        return f"locked out for {span(user.lock.until - now)}"
    return "" if user.expires_at is None else f"expires in {span(user.expires_at - now)}"


def lock_table(locks: Sequence[Lock], now: float) -> str:
    """What is shut out, until when, and what people are told."""
    columns = ("ID", "Target", "Expires", "Made by", "Message")
    return _fitting(columns, [_lock(lock, now) for lock in locks], "Message")


def _lock(lock: Lock, now: float) -> tuple[str, ...]:
    end = "never" if lock.expires_at is None else f"{moment(lock.expires_at)} ({span(lock.expires_at - now)})"
    return lock.name, pairs(lock.targets()), end, lock.created_by, lock.message


def request_table(requests: Sequence[AccessRequest]) -> str:
    """Columns of Teleport's."""
    columns = ("Token", "Requestor", "Metadata", "Created At (UTC)", "Status", "Reasons")
    return _fitting(columns, [_request(request) for request in requests], "Reasons")


def _request(request: AccessRequest) -> tuple[str, ...]:
    reasons = {"request": request.request_reason, "resolve": request.resolve_reason}
    said = ", ".join(f'{what}="{reason}"' for what, reason in reasons.items() if reason)
    created = rfc822(request.created_at)
    return request.name, request.user, f"roles={','.join(request.roles)}", created, request.state.name, said


def bot_table(bots: Sequence[Bot], now: float) -> str:
    columns = ("Robot", "Roles", "Allowed logins", "Renewed", "From", "Generation")
    rows = [
        (bot.name, ",".join(bot.roles), ",".join(bot.logins), _renewed(bot, now), bot.address, str(bot.generation))
        for bot in bots
    ]
    return _fitting(columns, rows, "Allowed logins")


def _renewed(bot: Bot, now: float) -> str:
    return "never" if bot.renewed_at is None else f"{moment(bot.renewed_at)} ({span(now - bot.renewed_at)} ago)"


def session_table(sessions: Sequence[ActiveSession], now: float) -> str:
    columns = ("ID", "User", "Login", "Node", "From", "Since")
    rows = [
        (
            session.id,
            session.user,
            session.login,
            session.server_hostname,
            session.remote_addr,
            f"{moment(session.created_at)} ({span(now - session.created_at)} ago)",
        )
        for session in sessions
    ]
    return table(columns, rows)


def recording_table(recordings: Sequence[Recording]) -> str:
    """What is not complete says so in place of how long it lasted. An id is whole on the narrowest terminal."""
    columns = ("Session", "User", "Account", "Started (UTC)", "Lasted")
    width = terminal_width(sys.stdout)
    rows: Sequence[Sequence[str]] = [_recording(each) for each in recordings]
    for cut, least in (("Account", 8), ("User", 5)):
        rows = fitted(columns, rows, columns.index(cut), width, least)
    return table(columns, rows)


def _recording(each: Recording) -> tuple[str, ...]:
    lasted = span(each.ended_at - each.created_at) if each.complete and each.ended_at is not None else each.state.value
    account = f"{each.login}@{each.server_hostname or each.server_id}"
    return each.id, each.user, account, moment(each.created_at)[:16], lasted


def event_table(events: Sequence[Mapping[str, object]]) -> str:
    columns = ("Time", "Code", "Event", "User", "Login", "Node", "Details")
    return _fitting(columns, [_event_cells(event) for event in events], "Details")


def _event_cells(event: Mapping[str, object]) -> Sequence[str]:
    node = event.get("server_hostname") or event.get("server_id") or event.get("node_name") or ""
    shorts = ((key, _short(value)) for key, value in sorted(event.items()) if key not in _NOT_DETAILS)
    details = (f"{key}={short}" for key, short in shorts if short)
    own = (event.get(key, "") for key in ("time", "code", "event", "user", "login"))
    return [*(str(value) for value in own), str(node), " ".join(details)]


def _short(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return pairs({str(key): str(each) for key, each in value.items()})
    return str(value).lower() if isinstance(value, bool) else str(value)
