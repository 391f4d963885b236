"""The section about what becomes of the accounts: kept when the stack goes, archived when they are old."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from components.settings.section import Resources, Section, resources
from components.settings.values import Cron, Matching, OptionalDnsName, PodTemplate, TimeZone
from runtime.contract import MountPath

_PLACE = r"(file:///[A-Za-z0-9/_.-]*|(s3|gs|az)://[A-Za-z0-9/_.-]+|)"
Days = Annotated[int, Field(ge=1, le=3650)]
ArchiveUrl = Annotated[
    str, Matching(_PLACE, "a folder or a bucket: file:///archive, s3://bucket/folder, gs:// or az://", "s3://bucket/pf")
]


class Retention(Section):
    """What outlives the stack, and where settled accounts go."""

    keep_escrows: bool = True
    """Whether the Escrow definition, and with it every account, survives `pulumi destroy`."""
    archive_after_days: Annotated[Days | None, BeforeValidator(lambda value: None if value == "" else value)] = None
    """Days after which a settled account moves into the archive; empty: it stays in the cluster."""
    archive_url: ArchiveUrl = ""
    """Where to: `s3://bucket/folder`, `gs://`, `az://`, or a folder on `archiveClaim`, `file:///archive`."""
    archive_claim: OptionalDnsName = ""
    """PersistentVolumeClaim of the namespace that is mounted at `/archive`."""
    archive_secret: OptionalDnsName = ""
    """Secret of the namespace whose keys are the bucket's variables, such as `AWS_ACCESS_KEY_ID`; empty: the pod's own
    identity."""
    schedule: Cron = "15 3 * * *"
    """When accounts move, as a Kubernetes CronJob writes it."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of the schedule."""
    resources: Resources = resources("100m", "96Mi", "500m", "192Mi")
    """CPU and memory of its container."""
    pod_template: PodTemplate = {}
    """What else its pods have, in Kubernetes' own words."""

    @property
    def archives(self) -> bool:
        """Whether accounts move at all."""
        return self.archive_after_days is not None

    @property
    def in_folder(self) -> bool:
        """Whether the archive is a folder, on the claim."""
        return self.archive_url.startswith(f"file://{MountPath.ARCHIVE}")
