"""The Helm chart of a stack: `python -m components.helm`."""
