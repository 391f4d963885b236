"""A stand-in for Pulumi's Kubernetes provider, for tests only; as unkind as the real one wherever that once mattered.

Given a kubeconfig it applies each object to the API server: server-side, without force, with strict field validation.
Given none it keeps the objects in the engine's state only. Either way each operation is a line in `STANDIN_LOG`.

- A Job is waited for until it has completed, unless an annotation says what to wait for instead.
- `pulumi.com/skipAwait` on a workload skips the wait for its deletion too, so that its name is still taken.
- A field that somebody else manages is a conflict, unless the resource ignores its changes.
- `refresh` takes over what the cluster says of the declared fields.
- A provider's configuration is in the state; another address of the cluster replaces it with all it made, unless the
  cluster's identifier stays.

It never waits for a Deployment to be ready; the real provider does.
"""
