"""The experiment trackers with their real packages, offline: `make test-trackers`."""
