"""Where the state of a cluster is kept: one contract, several stores."""
