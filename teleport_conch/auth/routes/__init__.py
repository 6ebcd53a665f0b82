"""How is auth called? The gate, and the routes behind it."""
