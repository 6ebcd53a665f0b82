"""What holds for the whole cluster: its name and its configuration."""

from __future__ import annotations

from attrs import frozen

from teleport_conch.resources.fields import envelope


@frozen
class ClusterName:
    """Set once, at the first start of the first auth server."""

    cluster_name: str
    cluster_id: str

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "cluster_name",
            "version": "v2",
            "metadata": {"name": "cluster-name", "namespace": "default"},
            "spec": {"cluster_name": self.cluster_name, "cluster_id": self.cluster_id},
        }

    @classmethod
    def from_json(cls, value: object) -> ClusterName:
        _, _, spec = envelope(value, "cluster_name")
        return cls(spec.text("cluster_name", max_chars=255), spec.text("cluster_id", max_chars=64))


@frozen
class ClusterConfig:
    """What auth tells every node and proxy about how to behave.

    ``session_recording`` is ``node``, ``node-sync`` or ``off``.

    Durations are seconds, and may be read from texts such as ``15m``; 0 means never.
    """

    session_recording: str = "node"
    heartbeat_interval_s: float = 15.0
    offline_nodes_kept_s: float = 7 * 24 * 3600.0
    keep_alive_interval_s: float = 300.0
    keep_alive_count_max: int = 3
    client_idle_timeout_s: float = 0.0
    disconnect_expired_cert: bool = False
    session_control_timeout_s: float = 120.0

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "cluster_config",
            "version": "v3",
            "metadata": {"name": "cluster-config", "namespace": "default"},
            "spec": {
                "session_recording": self.session_recording,
                "heartbeat_interval": self.heartbeat_interval_s,
                "offline_nodes_kept": self.offline_nodes_kept_s,
                "keep_alive_interval": self.keep_alive_interval_s,
                "keep_alive_count_max": self.keep_alive_count_max,
                "client_idle_timeout": self.client_idle_timeout_s,
                "disconnect_expired_cert": self.disconnect_expired_cert,
                "session_control_timeout": self.session_control_timeout_s,
            },
        }

    @classmethod
    def from_json(cls, value: object) -> ClusterConfig:
        _, _, spec = envelope(value, "cluster_config")
        usual = cls()
        return cls(
            spec.text("session_recording", default=usual.session_recording),
            spec.duration("heartbeat_interval", usual.heartbeat_interval_s),
            spec.duration("offline_nodes_kept", usual.offline_nodes_kept_s),
            spec.duration("keep_alive_interval", usual.keep_alive_interval_s),
            int(spec.number("keep_alive_count_max", default=usual.keep_alive_count_max)),
            spec.duration("client_idle_timeout", usual.client_idle_timeout_s),
            spec.boolean("disconnect_expired_cert", default=usual.disconnect_expired_cert),
            spec.duration("session_control_timeout", usual.session_control_timeout_s),
        )
