"""Active sessions: who is on which node, as which login, since when."""

from __future__ import annotations

from attrs import frozen

from teleport_conch.resources.fields import envelope


@frozen
class ActiveSession:
    """One running shell or command. Instants are POSIX seconds."""

    id: str
    user: str
    login: str
    server_id: str
    server_hostname: str
    remote_addr: str
    created_at: float
    last_active_at: float
    interactive: bool = False

    def to_json(self) -> dict[str, object]:
        party = {"user": self.user, "remote_addr": self.remote_addr, "last_active": self.last_active_at}
        return {
            "kind": "ssh_session",
            "version": "v2",
            "metadata": {"name": self.id, "namespace": "default"},
            "spec": {
                "parties": [{**party, "id": self.id, "server_id": self.server_id}],
                "login": self.login,
                "server_id": self.server_id,
                "server_hostname": self.server_hostname,
                "created": self.created_at,
                "last_active": self.last_active_at,
                "interactive": self.interactive,
            },
        }

    @classmethod
    def from_json(cls, value: object) -> ActiveSession:
        _, metadata, spec = envelope(value, "ssh_session")
        parties = spec.children("parties", max_items=1)
        party = parties[0] if parties else spec.child("party")
        return cls(
            id=metadata.text("name", max_chars=64),
            user=party.text("user", max_chars=255),
            login=spec.text("login", max_chars=64),
            server_id=spec.text("server_id", max_chars=64),
            server_hostname=spec.text("server_hostname", max_chars=255),
            remote_addr=party.text("remote_addr", default="", max_chars=100),
            created_at=spec.number("created"),
            last_active_at=spec.number("last_active"),
            interactive=spec.boolean("interactive", default=False),
        )
