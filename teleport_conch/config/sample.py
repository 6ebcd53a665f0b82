"""What ``teleport configure`` prints: a configuration of all three services on one host, with a fresh token."""

from __future__ import annotations

from collections.abc import Callable

from teleport_conch.config.names import name_from_host

#: Random bytes in the token of a sample; it is written as 48 hexadecimal digits.
TOKEN_BYTES = 24

_SAMPLE = """\
# A configuration of teleport-conch: auth, proxy and node on this host.
#
# The join token below lets machines into the cluster, so only the account that the service runs as may read this file:
#
#     (umask 077 && teleport configure > /etc/teleport.yaml)
#
# Every key is described in docs/configuration.rst.

teleport:
  nodename: {nodename}
  data_dir: /var/lib/teleport
  # What a node or proxy joins the cluster with: the token, or the absolute path of a file that holds it.
  auth_token: {token}
  auth_servers:
    - 127.0.0.1:3025
  connection_limits:
    max_connections: 1000
    max_users: 250
  log:
    output: stderr
    severity: INFO
  storage:
    type: dir

auth_service:
  enabled: yes
  listen_addr: 0.0.0.0:3025
  cluster_name: {nodename}
  # Tokens that never expire. 'tctl nodes add' makes one that does.
  tokens:
    - "proxy,node:{token}"
  # Sessions with a terminal are recorded by the nodes: node, node-sync, or "off".
  session_recording: node

ssh_service:
  enabled: yes
  listen_addr: 0.0.0.0:3022
  labels:
    env: staging

proxy_service:
  enabled: yes
  listen_addr: 0.0.0.0:3023
  # Where people reach the web port; links and commands name it.
  web_listen_addr: 0.0.0.0:3080
  # public_addr: proxy.example.com:3080
"""


def fresh_token(entropy: Callable[[int], bytes]) -> str:
    """A join token nobody can guess.

    :param entropy: answers so many random bytes, such as :func:`secrets.token_bytes`.
    """
    return entropy(TOKEN_BYTES).hex()


def sample(host_name: str, token: str) -> str:
    """The text of a configuration that starts as it is.

    :param host_name: what the operating system calls this host; nodename and cluster name are made of it.
    """
    return _SAMPLE.format(nodename=name_from_host(host_name), token=token)
