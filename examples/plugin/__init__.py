"""A reward plug-in."""
