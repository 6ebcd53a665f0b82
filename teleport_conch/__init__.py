"""An SSH access plane on Twisted Conch: nodes, one door, and the authority that they trust."""
