"""The typed client of the auth API, and what a host keeps of its membership: identity, beats, renewal."""
