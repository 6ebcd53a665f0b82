"""The commands of ``tctl``: each module adds its parsers, and holds what they run."""
