"""Who may do what: roles, the matching of labels and logins, and the one decision. Pure."""
