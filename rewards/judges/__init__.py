"""Judges of reasoning: four dimensions from 1 to 5, or a reason why there is no score."""
