"""What the project costs, against other programs on the same machine: ``python -m bench`` prints one table."""
