"""What people see of escrows, and decide about them: `python -m runtime.escrowctl`, `kubectl purpleflea`."""
