"""Experiment trackers: one sink, and a back end per tracker."""
