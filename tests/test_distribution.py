"""The suite's own distribution over two processes."""

import pytest


@pytest.mark.xdist_group("of-one")
def test_groups_are_honoured(request):
    """A pytest that pytest-xdist does not know yet drops groups in silence; each test then pays for its fixtures."""
    assert request.node.nodeid.endswith("@of-one") is getattr(request.config.option, "loadgroup", False)
