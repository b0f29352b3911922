"""The same job in other trainers; README.md says how to run it and what is compared."""
