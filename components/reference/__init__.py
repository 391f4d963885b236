"""Writes the reference pages and `Pulumi.yaml` from the settings: `python -m components.reference`."""
