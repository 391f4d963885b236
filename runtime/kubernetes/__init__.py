"""Everything that speaks to a Kubernetes API server: client, lists, watches, leases, events, finalizers, the Escrow."""
