"""SFTP: what files travel by. Our own server, as a program of its own, and an observer of anybody's."""
