"""Which hosts belong to the cluster, and which are there?"""
