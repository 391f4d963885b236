"""Pure functions from settings to Kubernetes objects as plain dicts; nothing here imports Pulumi."""
