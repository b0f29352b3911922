"""The loop (read trainer/loop.py first), the learner, losses, checkpoints and evaluation."""
