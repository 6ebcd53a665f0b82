"""Tests for the keys: :mod:`teleport_conch.config.settings` and :mod:`teleport_conch.config.unbuilt`.

Each key has a row with a value that is accepted, one that is refused, and what is said then.
"""

from __future__ import annotations

import math
from ipaddress import ip_network
from pathlib import Path

from attrs import fields, frozen
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.addresses import Address
from teleport_conch.config.keys import Section, walk
from teleport_conch.config.loading import parse
from teleport_conch.config.secret import Secret
from teleport_conch.config.settings import (
    SCHEMA,
    AuthSettings,
    CommandLabel,
    NodeSettings,
    ProxySettings,
    Settings,
    TeleportSettings,
)
from teleport_conch.config.tokens import StaticToken
from teleport_conch.errors import ConfigError

TOKEN = "0123456789abcdef0123456789abcdef"
PIN = "sha256:" + "0a" * 32
NO_DEVICES = "there are no devices, only the codes of authenticators"
NO_CONNECTORS = "people log in with passwords of this cluster only"
ALGORITHMS = "the algorithms that are offered cannot be chosen"
BY_PROXIES = "the nodes record, and no proxy sees what goes through it"
RECORDINGS = "recordings are kept in <data_dir>/log/records on the auth host"
NO_TRUST = "clusters do not trust one another"
NO_RESOURCES = "the configuration makes no resources"
NO_TUNNELS = "the proxy takes no reverse tunnels"
SINKS = "events are kept in <data_dir>/log on the auth host"


def read(text: str) -> Settings:
    return parse(text, "f", {}, "web1")


def spelled(path: str, value: str) -> str:
    """YAML, in one line, of a section in which only ``path`` is given."""
    *sections, name = path.split(".")
    text = f"{{{name}: {value}}}"
    if sections and sections[-1] == "commands[]":
        others = {"name": "x", "command": "[x]"}
        text = "[{" + ", ".join(f"{key}: {given}" for key, given in (others | {name: value}).items()) + "}]"
        sections[-1] = "commands"
    for section in reversed(sections):
        text = f"{{{section}: {text}}}"
    return text


@frozen
class Row:
    """``refused`` is None for a key that takes anything; ``says`` is what follows the key's path."""

    accepted: str
    refused: str | None
    says: str = ""
    quote: str = ""


def unbuilt(refused: str, lacks: str, accepted: str = "[]", write: str = "") -> Row:
    """A key that is not built; ``write`` is what the sentence proposes instead."""
    shown = f": {refused}" if write else ""
    advice = f"Write {write}, or leave the key out." if write else "Leave the key out."
    return Row(accepted, refused, f"{shown}' is not built yet: {lacks}. {advice}", quote="'")


YES_NO = Row("yes", "maybe", ": 'maybe' is neither yes nor no")
NO_ONLY = "no"
PAGES = Row("16384", "12", ": '12' is not a power of two from 1 to 16384")
ANYTHING = Row("[anything]", None)
LISTEN = ": 'auth' is a name, and a service listens on an IP address: write 127.0.0.1, ::1 or 0.0.0.0"
ADDRESSES = Row("[a.example.com, '10.0.0.1:22']", "['a:x']", "[0]: 'x' is not a port: write a number from 1 to 65535")
SQLITE_ONLY = "the state is kept in SQLite (storage.type: dir or sqlite)"
OTHER_STORAGE = (
    *("peers", "prefix", "tls_cert_file", "tls_key_file", "tls_ca_file", "username", "password_file", "insecure"),
    *("dial_timeout", "etcd_max_client_msg_size_bytes"),
    *("table_name", "region", "access_key", "secret_key", "read_capacity_units", "write_capacity_units"),
    *("buffer_size", "poll_stream_period", "retry_period"),
    *("project_id", "collection_name", "credentials_path"),
)

ROWS = {
    "teleport.nodename": Row("db1", "'a b'", ": 'a b' is not a host name or an IP address"),
    "teleport.data_dir": Row("/srv/teleport", "teleport", ": 'teleport' is not an absolute path"),
    "teleport.pid_file": Row("/run/teleport.pid", "x.pid", ": 'x.pid' is not an absolute path"),
    "teleport.auth_token": Row(TOKEN, "'two words'", ": a token is made of printable ASCII characters without spaces"),
    "teleport.ca_pin": Row(
        PIN, "md5:00", ": a CA pin is 'sha256:' and 64 hexadecimal digits, as 'tctl status' shows it"
    ),
    "teleport.auth_servers": Row(
        "[auth, '[::1]:3025', 'proxy.example.com:3080']",
        "['proxy.example.com:99999']",
        "[0]: '99999' is not a port: write a number from 1 to 65535",
    ),
    "teleport.advertise_ip": Row(
        "10.0.0.5",
        "0.0.0.0",
        ": nobody can connect to 0.0.0.0: write the address under which others reach this host",
    ),
    "teleport.workers": Row("4", "0", ": '0' is not a whole number from 1 to 8"),
    "teleport.account": Row("tc", "[a, b]", ": one value is due here, not a list"),
    "teleport.connection_limits.max_connections": Row("1000", "0", ": '0' is not a whole number from 1 to 1000000"),
    "teleport.connection_limits.max_startups": Row(
        "10:30:100", "10:0:100", ": '10:0:100' is not start:rate:full with a start from 1, a rate from 1 to 100"
    ),
    "teleport.connection_limits.per_source_max_startups": Row(
        "10", "0", ": '0' is not a whole number from 1 to 1000000"
    ),
    "teleport.connection_limits.per_source_penalties": YES_NO,
    "teleport.connection_limits.max_users": unbuilt("7", "users at one time are not counted", "250", "250"),
    "teleport.connection_limits.rates": unbuilt(
        "[{period: 1m, average: 100, burst: 200}]", "connections are limited in number, not in rate"
    ),
    "teleport.log.output": Row(
        "/var/log/teleport.log", "syslog", ": 'syslog' is not built yet: the log goes to stderr, stdout or a file"
    ),
    "teleport.log.severity": Row(
        "WARNING", "LOUD", ": unsupported logger severity: 'LOUD' is not one of ERROR, WARN, INFO, DEBUG"
    ),
    "teleport.storage.type": unbuilt("etcd", "the state is kept in SQLite", "sqlite", "dir or sqlite"),
    "teleport.storage.path": Row("/srv/backend", "backend", ": 'backend' is not an absolute path"),
    "teleport.storage.audit_events_uri": unbuilt("['dynamodb://events', 'stdout://']", SINKS),
    "teleport.storage.audit_sessions_uri": unbuilt("s3://recordings", RECORDINGS),
    "teleport.storage.audit_table_name": unbuilt("events", SINKS),
    **{f"teleport.storage.{name}": unbuilt("something", SQLITE_ONLY) for name in OTHER_STORAGE},
    "teleport.cache.enabled": YES_NO,
    "teleport.cache.type": Row("in-memory", "redis", ": 'redis' is not one of sqlite, in-memory"),
    "teleport.cache.ttl": Row("never", "20", ": the duration '20' has no unit: write 20s, 20m or 20h"),
    "teleport.ciphersuites": unbuilt("[tls-rsa]", ALGORITHMS),
    "teleport.ciphers": unbuilt("[aes256-ctr]", ALGORITHMS),
    "teleport.kex_algos": unbuilt("[curve25519-sha256]", ALGORITHMS),
    "teleport.mac_algos": unbuilt("[hmac-sha2-256]", ALGORITHMS),
    "teleport.ca_signature_algo": unbuilt(
        "rsa-sha2-512", "authorities sign with Ed25519 keys, and no RSA authority is made", accepted="~"
    ),
    "teleport.seed_config": ANYTHING,
    "auth_service.enabled": YES_NO,
    "auth_service.listen_addr": Row("127.0.0.1", "auth", LISTEN),
    "auth_service.public_addr": ADDRESSES,
    "auth_service.proxy_protocol": unbuilt("on", "PROXY headers of load balancers are not read", "off", "off"),
    "auth_service.cluster_name": Row("example.com", "a/b", ": 'a/b' is not a host name or an IP address"),
    "auth_service.tokens": Row(
        f"['proxy,node:{TOKEN}', 'auth:/etc/token']",
        f"['node:{TOKEN}', 'proxy:{TOKEN}']",
        "[1]: the same token is given twice",
    ),
    "auth_service.session_recording": unbuilt("proxy", BY_PROXIES, "node-sync", "node or node-sync or off"),
    "auth_service.client_idle_timeout": Row(
        "30m", "soon", ": 'soon' is not a duration: write it like 300ms, 30s or 1h30m"
    ),
    "auth_service.keep_alive_interval": Row("1m", "10ms", ": '10ms' is too short: at least 1s"),
    "auth_service.keep_alive_count_max": Row("5", "0", ": '0' is not a whole number from 1 to 1000"),
    "auth_service.heartbeat_interval": Row("30s", "2h", ": '2h' is too long: at most 1h"),
    "auth_service.offline_nodes_kept": Row("24h", "1s", ": '1s' is too short: at least 1m"),
    "auth_service.authentication.type": unbuilt("github", NO_CONNECTORS, "local", "local"),
    "auth_service.authentication.second_factor": unbuilt("u2f", NO_DEVICES, "off", "otp or off"),
    "auth_service.authentication.u2f.app_id": unbuilt("https://proxy", NO_DEVICES),
    "auth_service.authentication.u2f.facets": unbuilt("[https://proxy]", NO_DEVICES),
    "auth_service.authentication.connector_name": unbuilt("okta", NO_CONNECTORS),
    "auth_service.authentication.local_auth": YES_NO,
    "auth_service.proxy_checks_host_keys": YES_NO,
    "auth_service.disconnect_expired_cert": YES_NO,
    "auth_service.session_control_timeout": Row("5m", "1s", ": '1s' is too short: at least 10s"),
    "auth_service.license_file": ANYTHING,
    "auth_service.kubeconfig_file": ANYTHING,
    "auth_service.authorities": unbuilt("[{type: host}]", NO_RESOURCES),
    "auth_service.reverse_tunnels": unbuilt("[{domain_name: a}]", NO_TRUST),
    "auth_service.trusted_clusters": unbuilt("[{key_file: a}]", NO_TRUST),
    "auth_service.oidc_connectors": unbuilt("[{id: google}]", NO_CONNECTORS),
    "auth_service.u2f": unbuilt("{enabled: yes}", NO_DEVICES, "{}"),
    "auth_service.dynamic_config": unbuilt("yes", NO_RESOURCES, NO_ONLY, "no"),
    "proxy_service.enabled": YES_NO,
    "proxy_service.listen_addr": Row("'[::1]:0'", "auth", LISTEN),
    "proxy_service.proxy_protocol": unbuilt("on", "PROXY headers of load balancers are not read", "off", "off"),
    "proxy_service.public_addr": ADDRESSES,
    "proxy_service.ssh_public_addr": ADDRESSES,
    "proxy_service.unregistered_hosts": Row(
        "[10.0.0.0/24, old.example.com]",
        "['*']",
        "[0]: '*' is not a host name or an IP address",
    ),
    "proxy_service.web_listen_addr": Row("0.0.0.0:443", "auth", LISTEN),
    "proxy_service.tunnel_listen_addr": unbuilt("0.0.0.0:3080", NO_TUNNELS, "0.0.0.0:3024", "0.0.0.0:3024"),
    "proxy_service.tunnel_public_addr": ADDRESSES,
    "proxy_service.https_key_file": Row("~", "key.pem", ": 'key.pem' is not an absolute path"),
    "proxy_service.https_cert_file": Row("~", "cert.pem", ": 'cert.pem' is not an absolute path"),
    "proxy_service.kubernetes.enabled": unbuilt("yes", "Kubernetes is not proxied", NO_ONLY, "no"),
    "proxy_service.kubernetes.listen_addr": ANYTHING,
    "proxy_service.kubernetes.public_addr": ANYTHING,
    "proxy_service.kubernetes.kubeconfig_file": ANYTHING,
    "proxy_service.kubernetes.cluster_name": ANYTHING,
    "ssh_service.enabled": YES_NO,
    "ssh_service.listen_addr": Row("10.0.0.1:22", "auth", LISTEN),
    "ssh_service.public_addr": ADDRESSES,
    "ssh_service.labels": Row("{env: prod}", "[env]", ": a mapping of at most 1000 keys is due here"),
    "ssh_service.commands[].name": Row(
        "kernel", "'a b'", ": the label 'a b' has other characters than letters, digits and /._*-"
    ),
    "ssh_service.commands[].command": Row("[uname, -r]", "uname -r", ": a list is due here, not a single value"),
    "ssh_service.commands[].period": Row("1h", "25h", ": '25h' is too long: at most 24h"),
    "ssh_service.commands[].timeout": Row("1s", "1ms", ": '1ms' is too short: at least 100ms"),
    "ssh_service.proxied_only": YES_NO,
    "ssh_service.accept_env": Row(
        "[LANG, LC_*]", "['*']", "[0]: '*' is not the name of an environment variable, like LANG or LC_*"
    ),
    "ssh_service.gateway_ports": YES_NO,
    "ssh_service.break_glass_after": Row("5m", "1s", ": '1s' is too short: at least 5s"),
    "ssh_service.x11.enabled": YES_NO,
    "ssh_service.x11.display_offset": Row("0", "59536", ": '59536' is not a whole number from 0 to 59535"),
    "ssh_service.x11.max_display": Row("59535", "-1", ": '-1' is not a whole number from 0 to 59535"),
    "ssh_service.sftp_program": Row(
        "/usr/bin/other", "sftp-server", ": 'sftp-server' is neither automatic nor own nor an absolute path"
    ),
    "ssh_service.permit_user_env": unbuilt(
        "yes",
        "a session's environment comes from the host and from ssh_service.accept_env",
        NO_ONLY,
        "no",
    ),
    "ssh_service.namespace": Row("default", "other", ": 'other' is not one of default"),
    "ssh_service.pam.enabled": Row("automatic", "maybe", ": 'maybe' is neither yes nor no nor automatic"),
    "ssh_service.pam.service_name": Row("login", "../sshd", ": '../sshd' is not the name of a file in /etc/pam.d"),
    "ssh_service.pam.use_pam_auth": YES_NO,
    "ssh_service.enhanced_recording.enabled": YES_NO,
    "ssh_service.enhanced_recording.command_buffer_size": PAGES,
    "ssh_service.enhanced_recording.disk_buffer_size": PAGES,
    "ssh_service.enhanced_recording.network_buffer_size": PAGES,
    "ssh_service.enhanced_recording.cgroup_path": ANYTHING,
}


class RowTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """Every key has a row, and every row a key."""
        leaves = [path for path, key in walk(SCHEMA) if not isinstance(key.kind, Section)]
        self.assertEqual(sorted({*leaves} - {"ssh_service.commands"}), sorted(ROWS))

    def test_accepted(self) -> None:
        """The accepted value of each key starts, and so does a key without a value."""
        for path, row in ROWS.items():
            read(spelled(path, row.accepted))
            if path not in ("ssh_service.commands[].name", "ssh_service.commands[].command"):
                read(spelled(path, "~"))

    def test_refused(self) -> None:
        """The refused value of each key stops the start with one sentence that begins with the key."""
        for path, row in ROWS.items():
            if row.refused is None:
                continue
            error = self.assertRaises(ConfigError, read, spelled(path, row.refused))
            place = path.replace("[]", "[0]")
            self.assertTrue(error.sentence.startswith(f"f:1: {row.quote}{place}{row.says}"), error.sentence)
            self.assertNotIn("\n", error.sentence)


class ValueTests(SynchronousTestCase):
    """What the values of the file become."""

    def test_defaults(self) -> None:
        """An empty file has Teleport's defaults, and both names come from the host."""
        settings = read("")
        teleport = settings.teleport
        self.assertEqual((teleport.nodename, settings.auth.cluster_name), ("web1", "web1"))
        self.assertEqual((teleport.data_dir, teleport.storage.path), _paths("/var/lib/teleport"))
        self.assertEqual(teleport.auth_servers, (Address("127.0.0.1", 3025),))
        self.assertEqual((teleport.cache.ttl, settings.auth.client_idle_timeout), (72000.0, math.inf))
        self.assertEqual(str(settings.auth.listen_addr), "0.0.0.0:3025")
        self.assertEqual(str(settings.node.listen_addr), "0.0.0.0:3022")
        self.assertEqual(str(settings.proxy.listen_addr), "0.0.0.0:3023")
        self.assertEqual(settings.enabled(), {"auth", "proxy", "node"})
        self.assertEqual((settings.auth.heartbeat_interval, settings.auth.offline_nodes_kept), (15.0, 604800.0))

    def test_teleport(self) -> None:
        """The section ``teleport``; storage lies in ``data_dir`` unless the file says where."""
        text = f"""
        teleport:
          nodename: DB1
          data_dir: /srv/t
          auth_token: {TOKEN}
          ca_pin: {PIN.upper().replace("SHA", "sha")}
          auth_servers: auth.example.com
          advertise_ip: 10.0.0.5:2222
          log: {{output: "2", severity: warning}}
          cache: {{ttl: 0}}
        """
        teleport = read(text).teleport
        self.assertEqual((teleport.nodename, teleport.ca_pin), ("db1", PIN))
        self.assertEqual((teleport.data_dir, teleport.storage.path), _paths("/srv/t"))
        self.assertEqual(teleport.auth_token, Secret(TOKEN))
        self.assertEqual(teleport.auth_servers, (Address("auth.example.com", 3025),))
        self.assertEqual(teleport.advertise_ip, Address("10.0.0.5", 2222))
        self.assertEqual((teleport.log.output, teleport.log.severity), ("stderr", "warn"))
        self.assertEqual(teleport.cache.ttl, math.inf)

    def test_services(self) -> None:
        """Labels, commands, tokens, networks."""
        text = f"""
        auth_service: {{tokens: "Proxy,node:{TOKEN}"}}
        ssh_service:
          labels: {{env: prod, level: 1, on: yes}}
          commands: [{{name: up, command: [uptime, -p], period: 1m30s}}]
        proxy_service: {{unregistered_hosts: [10.0.0.0/8, 10.1.1.1, Old.example.com]}}
        """
        settings = read(text)
        self.assertEqual(settings.auth.tokens, (StaticToken(("proxy", "node"), Secret(TOKEN)),))
        self.assertEqual(settings.node.labels, {"env": "prod", "level": "1", "on": "yes"})
        self.assertEqual(settings.node.commands, (CommandLabel("up", ("uptime", "-p"), 90.0, 10.0),))
        self.assertEqual(
            settings.proxy.unregistered_hosts,
            (ip_network("10.0.0.0/8"), ip_network("10.1.1.1/32"), "old.example.com"),
        )

    def test_displays(self) -> None:
        """No X11 unless the file says so; then the numbers from the first to the last, which is not below it."""
        for text, displays in (
            ("", range(0)),
            ("{display_offset: 5}", range(0)),
            ("{enabled: yes}", range(10, 1011)),
            ("{enabled: yes, display_offset: 3, max_display: 3}", range(3, 4)),
            ("{enabled: yes, display_offset: 59000}", range(59000, 59536)),
        ):
            self.assertEqual(read(f"ssh_service: {{x11: {text}}}").node.x11.displays, displays, text)
        error = self.assertRaises(ConfigError, read, "ssh_service: {x11: {display_offset: 9, max_display: 8}}")
        self.assertEqual(error.sentence, "f:1: ssh_service.x11: max_display (8) is below display_offset (9)")

    def test_enhanced_recording(self) -> None:
        """Nothing is recorded unless the file says so; then there are rings of Teleport's sizes, or others."""
        for text, pages in (
            ("", ()),
            ("{disk_buffer_size: 64}", ()),
            ("{enabled: yes}", (8, 128, 8)),
            ("{enabled: yes, command_buffer_size: 1, disk_buffer_size: 16384, network_buffer_size: 2}", (1, 16384, 2)),
        ):
            settings = read(f"ssh_service: {{enhanced_recording: {text}}}")
            self.assertEqual(settings.node.enhanced_recording.pages, pages, text)
        for wrong in ("0", "3", "32768", "-8", "8k", "99999999"):
            error = self.assertRaises(
                ConfigError, read, f"ssh_service: {{enhanced_recording: {{disk_buffer_size: {wrong}}}}}"
            )
            self.assertEqual(
                error.sentence,
                "f:1: ssh_service.enhanced_recording.disk_buffer_size: "
                f"'{wrong}' is not a power of two from 1 to 16384",
            )

    def test_cgroup_path(self) -> None:
        """A key that is not needed is taken, with a notice."""
        settings = read("ssh_service: {enhanced_recording: {enabled: yes, cgroup_path: /cgroup2}}")
        (notice,) = settings.notices
        self.assertEqual(
            notice,
            "ssh_service.enhanced_recording.cgroup_path: sessions are followed by their processes, which takes no"
            " cgroup file system, and the key is ignored",
        )

    def test_bool_spellings(self) -> None:
        """Every spelling of yes and no that Teleport takes."""
        for text in ("yes", "yeah", "y", "true", "1", "on", "YES", "'on'"):
            self.assertTrue(read(f"ssh_service: {{proxied_only: {text}}}").node.proxied_only)
        for text in ("no", "nope", "n", "false", "0", "off", "No", "'off'"):
            self.assertFalse(read(f"ssh_service: {{proxied_only: {text}}}").node.proxied_only)

    def test_shapes(self) -> None:
        """A section, a list and a single value are told apart."""
        cases = {
            "teleport: x": "f:1: teleport: a section with keys is due here",
            "teleport: {nodename: [a]}": "f:1: teleport.nodename: one value is due here, not a list",
            "teleport: {nodename: {a: b}}": "f:1: teleport.nodename: one value is due here, not a section",
            "teleport: {auth_servers: []}": "f:1: teleport.auth_servers: a list of 1 to 1000 values is due here",
            "ssh_service: {commands: [{name: a}]}": "f:1: ssh_service.commands[0]: the key 'command' is missing",
            "ssh_service: {commands: [x]}": "f:1: ssh_service.commands[0]: a section with keys is due here",
            "ssh_service: {labels: {env: [a]}}": "f:1: ssh_service.labels.env: one value is due here, not a list",
            "ssh_service: {labels: {a: b}, commands: [{name: a, command: [x]}]}": "f:1: ssh_service: the label 'a'"
            " stands in both labels and commands",
            "ssh_service: {commands: [{name: a, command: [x]}, {name: a, command: [y]}]}": "f:1: ssh_service."
            "commands[1]: the label is given twice",
        }
        got = {text: self.assertRaises(ConfigError, read, text).sentence for text in cases}
        self.assertEqual(got, cases)

    def test_listening_on(self) -> None:
        """One address for every service; the ports stay."""
        settings = read("auth_service: {listen_addr: '10.0.0.1:99'}").listening_on("::1")
        self.assertEqual(settings.auth.listen_addr, Address("::1", 99))
        self.assertEqual(settings.node.listen_addr, Address("::1", 3022))
        self.assertEqual(settings.proxy.listen_addr, Address("::1", 3023))

    def test_field_names_are_keys(self) -> None:
        """Each field of a settings class is the key that sets it."""
        sections = {
            "teleport": TeleportSettings,
            "auth_service": AuthSettings,
            "proxy_service": ProxySettings,
            "ssh_service": NodeSettings,
        }
        known = {path for path, _ in walk(SCHEMA)}
        for section, made_of in sections.items():
            self.assertLessEqual({f"{section}.{field.name}" for field in fields(made_of)}, known)


def _paths(data_dir: str) -> tuple[Path, Path]:
    return Path(data_dir), Path(data_dir) / "backend"


class UnknownTests(SynchronousTestCase):
    maxDiff = None

    def sentence(self, text: str) -> str:
        return str(self.assertRaises(ConfigError, read, text).sentence)

    def test_nearest(self) -> None:
        """An unknown key is refused with the nearest key of its section, or the same key of another."""
        start = "f:1: unrecognized configuration key:"
        cases = {
            "telport: {}": f"{start} 'telport' (did you mean 'teleport'?)",
            "teleport: {nodenam: x}": f"{start} 'nodenam' (did you mean 'nodename'?)",
            "teleport: {log: {severty: x}}": f"{start} 'severty' (did you mean 'severity'?)",
            "nodename: x": f"{start} 'nodename' (did you mean 'teleport.nodename'?)",
            "ssh_service: {cluster_name: x}": f"{start} 'cluster_name' (did you mean 'auth_service."
            "cluster_name' or 'proxy_service.kubernetes.cluster_name'?)",
            "ssh_service: {auth_service: {}}": f"{start} 'auth_service' (did you mean 'auth_service'?)",
            "teleport: {qqqqqq: x}": f"{start} 'qqqqqq'",
        }
        self.assertEqual({text: self.sentence(text) for text in cases}, cases)


class OffTests(SynchronousTestCase):
    def test_off_asks_for_nothing(self) -> None:
        """Inside a section that is off, what is not built is no mistake, and neither is it below it."""
        read("proxy_service: {enabled: no, https_key_file: /k, kubernetes: {enabled: yes}}")
        read("proxy_service: {kubernetes: {listen_addr: 0.0.0.0:3026}}")

    def test_off_is_still_read(self) -> None:
        """A key that nobody knows and a value that cannot be are mistakes there as well."""
        text = "ssh_service: {enabled: no, pamm: 1, listen_addr: x, permit_user_env: yes}"
        error = self.assertRaises(ConfigError, read, text)
        self.assertEqual(len(error.sentence.splitlines()), 2, error.sentence)


class WebCertificateTests(SynchronousTestCase):
    def test_pair(self) -> None:
        """The two files are given together, where the proxy is on."""
        for given in ("https_key_file: /k", "https_cert_file: /c"):
            error = self.assertRaises(ConfigError, read, f"proxy_service: {{{given}}}")
            self.assertEqual(
                error.sentence,
                "f:1: proxy_service: https_key_file and https_cert_file belong together: give both, or neither",
            )
            read(f"proxy_service: {{enabled: no, {given}}}")
        both = read("proxy_service: {https_key_file: /k, https_cert_file: /c}").proxy
        self.assertEqual((both.https_key_file, both.https_cert_file), (Path("/k"), Path("/c")))


class NoticeTests(SynchronousTestCase):
    def test_not_recorded(self) -> None:
        """An auth server that is to record nothing says so; by default nodes record."""
        sentence = "Sessions are NOT recorded (auth_service.session_recording: off)."
        self.assertEqual((read("").notices, read("").auth.session_recording), ((), "node"))
        self.assertEqual(read("auth_service: {session_recording: node-sync}").notices, ())
        self.assertEqual(read("auth_service: {session_recording: off}").notices, (sentence,))
        self.assertEqual(read("auth_service: {enabled: no, session_recording: off}").notices, ())

    def test_short_period(self) -> None:
        """A period under a second becomes a second, and the start says so."""
        settings = read("ssh_service: {commands: [{name: a, command: [x], period: 10ms}]}")
        self.assertEqual(settings.node.commands[0].period, 1.0)
        self.assertEqual(
            settings.notices,
            ("ssh_service.commands[0].period: the period is under a second; the command runs once a second.",),
        )

    def test_short_token(self) -> None:
        """A static token that can be guessed is announced, not shown."""
        notices = read("auth_service: {tokens: ['node:hunter2', 'proxy:/etc/t']}").notices
        self.assertEqual(len(notices), 1)
        self.assertIn("auth_service.tokens[0]: the token has fewer than 16 characters", notices[0])
        self.assertNotIn("hunter2", notices[0])

    def test_ignored(self) -> None:
        """Keys without effect that are given are named at every start, unless their section is off."""
        text = "auth_service: {license_file: a, kubeconfig_file: b}\nteleport: {seed_config: yes}"
        self.assertEqual(
            read(text).notices,
            (
                "auth_service.license_file: there is one edition, without a licence, and the file is not read",
                "auth_service.kubeconfig_file: the key moved to the proxy, in Teleport too, and is ignored",
                "teleport.seed_config: the key is obsolete, in Teleport too, and is ignored",
            ),
        )
        self.assertEqual(read("auth_service: {enabled: no, license_file: a}").notices, ())


class AllAtOnceTests(SynchronousTestCase):
    def test_all_mistakes(self) -> None:
        """Every mistake of a file is in one error, in the order of the lines."""
        text = f"""\
teleport:
  nodenam: x
  data_dir: here
ssh_service:
  listen_addr: 10.0.0.1:x
  listen_addr: 10.0.0.1
auth_service:
  session_recording: proxy
  tokens:
    - "{TOKEN}"
"""
        advice = "Write node or node-sync or off, or leave the key out."
        form = "write role[,role]:token or role[,role]:/absolute/path"
        error = self.assertRaises(ConfigError, read, text)
        self.assertEqual(
            error.sentence.splitlines(),
            [
                "f:2: unrecognized configuration key: 'nodenam' (did you mean 'nodename'?)",
                "f:3: teleport.data_dir: 'here' is not an absolute path",
                "f:5: ssh_service.listen_addr: 'x' is not a port: write a number from 0 to 65535",
                "f:6: the key 'listen_addr' is given twice, first in f:5",
                f"f:8: 'auth_service.session_recording: proxy' is not built yet: {BY_PROXIES}. {advice}",
                f"f:10: auth_service.tokens[0]: invalid static token spec: {form}",
            ],
        )
        self.assertEqual(error.facts["mistakes"], 6)

    def test_bound(self) -> None:
        """Beyond a hundred, mistakes are counted."""
        text = "teleport:\n" + "".join(f"  zz{n}: 1\n" for n in range(150))
        lines = self.assertRaises(ConfigError, read, text).sentence.splitlines()
        self.assertEqual((len(lines), lines[-1]), (101, "and 50 more mistakes"))
