"""Asking a policy about held-out clips, and what its answers are worth."""
