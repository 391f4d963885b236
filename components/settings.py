"""Frozen pydantic models: the one source for Pulumi configuration, documentation and Helm values."""
