"""The things a cluster is made of, as frozen values with the JSON shapes of Teleport's resources."""
