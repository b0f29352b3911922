"""The configuration: one schema, one loader, one YAML file per kind of run."""
