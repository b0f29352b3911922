"""What a voice does, measured, and what a text claims of it."""
