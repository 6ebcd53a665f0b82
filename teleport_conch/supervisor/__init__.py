"""Who holds the listening sockets, and starts what speaks with the network as an account without rights?"""
