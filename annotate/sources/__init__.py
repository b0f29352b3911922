"""Data of one's own as it lies on disk: tables, folders, and what other tools write."""
