"""How much memory each role of a run takes, before it starts."""
