"""Resources: round trips and refusals."""
