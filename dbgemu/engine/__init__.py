"""How guest code becomes host code, and when it runs."""
