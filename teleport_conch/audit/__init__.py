"""What happened: the catalogue of events, the trail that carries them to auth, and the log that keeps them."""
