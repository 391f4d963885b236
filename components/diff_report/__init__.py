"""What a change does to stacks, in money, rights and images, for a reviewer: `python -m components.diff_report`."""
