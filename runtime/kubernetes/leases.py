"""Leases: an object of one name is created once, whoever asks. Claims and the election of a leader rest on them."""

import msgspec

from runtime.kubernetes.shape import Metadata, Shape


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    """What is read of a Lease; its times are not, because the clocks of others prove nothing."""

    holder_identity: str = ""
    lease_transitions: int = 0


class Lease(msgspec.Struct, frozen=True):
    """A `coordination.k8s.io/v1` Lease."""

    metadata: Metadata
    spec: LeaseSpec = LeaseSpec()


LEASE: Shape[Lease] = Shape.of("Lease", Lease)


def leases_path(namespace: str) -> str:
    """Path of a namespace's Leases."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
