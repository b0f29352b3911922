"""Pages about runs: report, model card, sweep results."""
