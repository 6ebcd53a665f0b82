"""Input that nobody would send: what reads bytes of strangers, fed with mutations of what it should get."""
