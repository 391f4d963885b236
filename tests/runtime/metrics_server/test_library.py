"""Statuses and bodies, word for word those of Kubernetes' own library for such servers.

Recorded from the test adapter of sigs.k8s.io/custom-metrics-apiserver v1.36.0 on a real API server, asked with the
front proxy's certificate. Building it takes four minutes of two cores, so it is no part of the toolchain: `go build
sigs.k8s.io/custom-metrics-apiserver/test-adapter`, with both `--*-kubeconfig` flags at a control plane.
"""

import pytest

from runtime.metrics_server.custom_metrics import UNAUTHORIZED, Asked, Refusal, answer
from runtime.metrics_server.reading import Figures

PATH = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/{}/{}"
METRIC = PATH.format("pf-metrics-server", "escrow_queue_depth")


def status(code: int, reason: str, message: str, **more) -> dict:
    head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**head, "message": message, "reason": reason, **more, "code": code}


NOT_FOUND = "the server could not find the metric {} for services {}"
NOT_ALLOWED = status(
    405, "MethodNotAllowed", "the server does not allow this method on the requested resource", details={}
)
RECORDED = {
    ("GET", PATH.format("other", "escrow_queue_depth")): status(
        404, "NotFound", NOT_FOUND.format("escrow_queue_depth", "other")
    ),
    ("GET", PATH.format("pf-metrics-server", "else")): status(
        404, "NotFound", NOT_FOUND.format("else", "pf-metrics-server")
    ),
    ("GET", "/apis/custom.metrics.k8s.io/v1beta3"): status(
        404, "NotFound", "the server could not find the requested resource", details={}
    ),
    ("POST", METRIC): NOT_ALLOWED,
    ("DELETE", METRIC): NOT_ALLOWED,
    ("PUT", METRIC): NOT_ALLOWED,
}


@pytest.mark.parametrize(("method", "path"), RECORDED)
def test_a_refusal_is_the_librarys(method, path):
    with pytest.raises(Refusal) as refused:
        answer(Asked.of(method, path, b""), "default", lambda _: Figures(1, 1, 1.0, 0.0))
    assert refused.value.body == RECORDED[method, path]
    assert [*refused.value.body] == [*RECORDED[method, path]]


def test_who_may_not_is_told_so_in_the_librarys_words():
    user = 'User "mallory" cannot get resource "services/escrow_queue_depth" in API group "custom.metrics.k8s.io"'
    assert Asked.of("GET", METRIC, b"").forbidden("mallory", "").body == status(
        403,
        "Forbidden",
        f'services.custom.metrics.k8s.io "pf-metrics-server" is forbidden: {user} in the namespace "default"',
        details={"name": "pf-metrics-server", "group": "custom.metrics.k8s.io", "kind": "services"},
    )
    path = "/apis/custom.metrics.k8s.io/v1beta2"
    assert Asked.of("GET", path, b"").forbidden("mallory", "").body == status(
        403, "Forbidden", f'forbidden: User "mallory" cannot get path "{path}"', details={}
    )
    assert UNAUTHORIZED.body == status(401, "Unauthorized", "Unauthorized")


def test_where_we_differ_on_purpose():
    """A malformed selector is the caller's mistake (there 500), and the group names both versions (there one)."""
    with pytest.raises(Refusal) as refused:
        answer(Asked.of("GET", METRIC, b"metricLabelSelector=(("), "default", lambda _: Figures(1, 1, 1.0, 0.0))
    assert refused.value.code == 400
    group = answer(Asked.of("GET", "/apis/custom.metrics.k8s.io", b""), "default", lambda _: Figures(1, 1, 1.0, 0.0))
    assert len(group["versions"]) == 2
