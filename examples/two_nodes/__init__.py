"""Two Ray nodes on one machine."""
