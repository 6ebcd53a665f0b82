The first version that works from end to end: auth, proxy and node as ``twist`` services, in one process or in three. Nodes
join with a token, get SSH and TLS certificates and renew them, and show in ``tctl nodes ls`` with their state. Plain OpenSSH
reaches them through the proxy, by ``ssh -J`` or as a ``ProxyCommand``, with certificates on both sides. ``make demo`` starts
a whole cluster on one machine. Sessions are not recorded yet.
