"""A thin stand-in for Pulumi's Kubernetes provider, for tests only.

Given a kubeconfig it applies each object to the API server: server-side, with strict field validation. Given none it
keeps the objects in the engine's state only. Either way each operation is a line in `STANDIN_LOG`. It never waits for
a workload to be ready; the real provider does.
"""
