"""What a person types: ``tctl`` for administrators, ``teleport`` for the host that runs services."""
