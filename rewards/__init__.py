"""Reward terms and what combines them; a term sees a Group and knows nothing of weights."""
