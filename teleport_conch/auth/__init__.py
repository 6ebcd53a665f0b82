"""The auth service: the certificate authorities, the state of the cluster, and the API that all others ask."""
