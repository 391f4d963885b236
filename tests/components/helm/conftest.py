"""What the chart's tests share."""

import pytest

from tests.components.helm.rendering import Helm, write_chart
from tests.toolchain.fixtures import require


@pytest.fixture(scope="session")
def helm(tmp_path_factory):
    return Helm(require("helm", "helm"), tmp_path_factory.mktemp("helm-home"))


@pytest.fixture(scope="session")
def plain_chart(tmp_path_factory):
    """The chart of a stack of defaults."""
    return write_chart(tmp_path_factory.mktemp("chart"))
