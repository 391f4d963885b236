"""Renders a stack as files: `python -m components.synth`."""
