"""The transport layer (RFC 4253): packets, ciphers, exchanges of keys, in both roles."""
