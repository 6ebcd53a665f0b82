"""What attackers have done to programs of this kind, each tried on ours and named by its number."""
