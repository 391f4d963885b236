"""Small pods for tests of the toolchain itself: restricted, and made of busybox."""

import os
from typing import Any

from lightkube.models.core_v1 import (
    Capabilities,
    Container,
    EmptyDirVolumeSource,
    PodSecurityContext,
    PodSpec,
    PodTemplateSpec,
    SeccompProfile,
    SecurityContext,
    Volume,
    VolumeMount,
)
from lightkube.models.meta_v1 import ObjectMeta

from tests.toolchain.node_files import BUSYBOX_IMAGE

IMAGE = os.environ.get("E2E_BUSYBOX_IMAGE", BUSYBOX_IMAGE)
"""For a cluster of somebody else: the name of an image with busybox that it can pull."""
USER = 10001


def container(name: str, script: str, **more: Any) -> Container:
    """A container that runs a shell script in /work, which containers of one pod share."""
    return Container(
        name=name,
        image=IMAGE,
        imagePullPolicy="IfNotPresent",
        command=["/bin/busybox", "sh", "-ec", script],
        securityContext=SecurityContext(
            allowPrivilegeEscalation=False,
            readOnlyRootFilesystem=True,
            capabilities=Capabilities(drop=["ALL"]),
        ),
        workingDir="/work",
        volumeMounts=[VolumeMount(mountPath="/work", name="work")],
        **more,
    )


def template(*containers: Container, labels: dict[str, str] | None = None, **more: Any) -> PodTemplateSpec:
    """A pod of the `restricted` level, soon gone when it is deleted."""
    spec = PodSpec(
        containers=list(containers),
        restartPolicy="Never",
        terminationGracePeriodSeconds=1,
        securityContext=PodSecurityContext(
            runAsNonRoot=True,
            runAsUser=USER,
            runAsGroup=USER,
            fsGroup=USER,
            seccompProfile=SeccompProfile(type="RuntimeDefault"),
        ),
        volumes=[Volume(name="work", emptyDir=EmptyDirVolumeSource())],
        **more,
    )
    return PodTemplateSpec(metadata=ObjectMeta(labels=labels or {}), spec=spec)
