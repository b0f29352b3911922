"""Tests that need no cluster, engine or learner process."""
