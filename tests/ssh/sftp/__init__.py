"""SFTP: the messages, our server beside OpenSSH's, and what an observer sees of both."""
