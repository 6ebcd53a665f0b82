"""Who are the people of the cluster, and how do they prove it?"""
