"""The `fly` section: what fly.toml, the Dockerfile and the scripts are made from."""

from typing import Annotated

from pydantic import Field

from components.settings.section import Section

Region = Annotated[str, Field(pattern=r"^[a-z]{3}$")]


class FlySettings(Section):
    """One Fly.io app."""

    enabled: bool = True
    """Whether the stack writes Fly files."""
    app: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)] = "my-pf-agent"
    """Name of the app, unique on Fly."""
    primary_region: Region = "iad"
    """Three-letter region of the first Machine."""
    regions: dict[Region, Annotated[int, Field(ge=0, le=100)]] = {"lhr": 2, "nrt": 2, "syd": 1}
    """Machines in each region, absolute counts."""
    volume_size_gb: Annotated[int, Field(ge=1, le=500)] = 10
    """Gigabytes of each Machine's volume `agent_data`."""
    memory_mb: Annotated[int, Field(ge=256, le=65536)] = 256
    """Megabytes of each Machine."""
