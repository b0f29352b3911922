"""Files to start from: cluster templates, and a reward of your own."""
