"""Rewards as verl, TRL and ms-swift have them, for `rewards.adapters`."""
