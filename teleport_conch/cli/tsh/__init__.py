"""``tsh``: what a person does with a cluster."""
