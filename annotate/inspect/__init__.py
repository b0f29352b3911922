"""What is in a corpus, what is wrong with it, and what its splits share; nothing is repaired."""
