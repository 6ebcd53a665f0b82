"""Keys of Teleport's of which nothing is built, so that whoever gives one hears so, instead of being ignored."""

from __future__ import annotations

from teleport_conch.config.addresses import EVERY_INTERFACE, Address
from teleport_conch.config.keys import Key, closed, missing, without_effect
from teleport_conch.config.scalars import YES_NO, choice, listen

_ALGORITHMS = "the algorithms that are offered cannot be chosen"
_RECORDINGS = "recordings are kept in <data_dir>/log/records on the auth host"
_SHELL_ENVIRONMENT = "a session's environment comes from the host and from ssh_service.accept_env"

TELEPORT = (
    missing("ciphersuites", _ALGORITHMS),
    missing("ciphers", _ALGORITHMS),
    missing("kex_algos", _ALGORITHMS),
    missing("mac_algos", _ALGORITHMS),
    missing(
        "ca_signature_algo",
        "authorities sign with Ed25519 keys, and no RSA authority is made",
        choice("ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"),
        only=(),
    ),
    without_effect("seed_config", notice="the key is obsolete, in Teleport too, and is ignored"),
)

CONNECTION_LIMITS = (missing("rates", "connections are limited in number, not in rate"),)

_DATABASE = "the state is kept in SQLite (storage.type: dir or sqlite)"
_SINKS = "events are kept in <data_dir>/log on the auth host"
STORAGE = (
    missing("audit_events_uri", _SINKS),
    missing("audit_sessions_uri", _RECORDINGS),
    missing("audit_table_name", _SINKS),
    *(
        missing(name, _DATABASE)
        for name in (
            "peers",
            "prefix",
            "tls_cert_file",
            "tls_key_file",
            "tls_ca_file",
            "username",
            "password_file",
            "insecure",
            "dial_timeout",
            "etcd_max_client_msg_size_bytes",
            "table_name",
            "region",
            "access_key",
            "secret_key",
            "read_capacity_units",
            "write_capacity_units",
            "buffer_size",
            "poll_stream_period",
            "retry_period",
            "project_id",
            "collection_name",
            "credentials_path",
        )
    ),
)

NO_DEVICES = "there are no devices, only the codes of authenticators"
NO_CONNECTORS = "people log in with passwords of this cluster only"
AUTHENTICATION = (
    missing("u2f", NO_DEVICES, closed(missing("app_id", NO_DEVICES), missing("facets", NO_DEVICES))),
    missing("connector_name", NO_CONNECTORS),
    without_effect("local_auth", YES_NO, default=True),
)

_NO_TRUST = "clusters do not trust one another"
_RESOURCES = "the configuration makes no resources"
AUTH_SERVICE = (
    without_effect("proxy_checks_host_keys", YES_NO, default=True),
    without_effect("license_file", notice="there is one edition, without a licence, and the file is not read"),
    without_effect("kubeconfig_file", notice="the key moved to the proxy, in Teleport too, and is ignored"),
    missing("authorities", _RESOURCES),
    missing("reverse_tunnels", _NO_TRUST),
    missing("trusted_clusters", _NO_TRUST),
    missing("oidc_connectors", NO_CONNECTORS),
    missing("u2f", NO_DEVICES),
    missing("dynamic_config", _RESOURCES, YES_NO, only=(False,)),
)

PAM = (without_effect("use_pam_auth", YES_NO, default=False),)

SSH_SERVICE = (
    missing("permit_user_env", _SHELL_ENVIRONMENT, YES_NO, only=(False,)),
    missing("namespace", "there is one namespace", choice("default"), only=("default",)),
)

_KUBERNETES = closed(
    missing("enabled", "Kubernetes is not proxied", YES_NO, only=(False,)),
    without_effect("listen_addr"),
    without_effect("public_addr"),
    without_effect("kubeconfig_file"),
    without_effect("cluster_name"),
)


def _only_default_port(name: str, port: int, lacks: str) -> Key:
    return missing(name, lacks, listen(port), only=(Address(EVERY_INTERFACE, port),))


_NO_TUNNELS = "the proxy takes no reverse tunnels"
PROXY_SERVICE = (
    _only_default_port("tunnel_listen_addr", 3024, _NO_TUNNELS),
    without_effect("kubernetes", _KUBERNETES),
)
