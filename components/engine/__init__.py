"""Drives the Pulumi engine, with no set-up: `python -m components.engine`."""
