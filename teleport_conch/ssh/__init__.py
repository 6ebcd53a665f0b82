"""The SSH engine: a certificate-aware layer over Twisted Conch that knows nothing of clusters."""
