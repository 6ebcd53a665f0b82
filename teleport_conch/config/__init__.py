"""The configuration file and its flags: what every key means, what of it is built, the settings that come of it."""
