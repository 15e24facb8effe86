"""JSON, YAML and XML text of the same documents."""
