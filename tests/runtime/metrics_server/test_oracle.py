"""The same requests to Kubernetes' own library for such servers and to ours: the same decisions, the same bodies.

The library is `sigs.k8s.io/custom-metrics-apiserver` with its test adapter, told to serve what ours serves. Both ask
one API server who may read.
"""

import json
import re

import pytest

from tests.runtime.metrics_server.adapter import Adapter
from tests.runtime.metrics_server.test_front_proxy import authority_of
from tests.runtime.metrics_server.world import DEPTH, GROUP
from tests.toolchain import waiting
from tests.toolchain.fixtures import require

ADMIN = {"X-Remote-User": "system:kube-aggregator", "X-Remote-Group": "system:masters"}
READER = {"X-Remote-User": "reader"}
METRIC = f"{GROUP}/v1beta2/namespaces/NAMESPACE/services/pf-metrics-server/{DEPTH}"


@pytest.fixture(scope="module")
def both(served, tmp_path_factory):
    """Sends a request to ours and to the library, by `(certificate, method, path, headers)`."""
    world, server = served
    adapter = Adapter(require("control_plane", "metrics-adapter"), world.cluster, tmp_path_factory.mktemp("adapter"))
    try:
        adapter.write(world.namespace, "pf-metrics-server", DEPTH, "1")
        stranger = authority_of(world).issue("another-name", "somebody")
        shown = {"front proxy": world.front_proxy(), "another name": stranger, "none": None}
        clients = {name: (server.client(one), adapter.client(one)) for name, one in shown.items()}

        def ask(certificate: str, method: str, path: str, headers: dict[str, str]):
            path = path.replace("NAMESPACE", world.namespace)
            return [comparable(one.request(method, path, headers=headers)) for one in clients[certificate]]

        library = clients["front proxy"][1]
        # It serves before it has read whose word the front proxy's is, and takes everybody for nobody until then.
        waiting.until("it believes the front proxy", lambda: library.get(f"{GROUP}/v1beta2", headers=ADMIN).is_success)
        yield ask
    finally:
        adapter.stop()


def comparable(response):
    """Status, kind of content, and the body with every key in its place, but for the time."""
    kind, text = response.headers["content-type"], re.sub(r"20\d\d-\d\d-\d\dT[\d:]+Z", "TIME", response.text)
    return response.status_code, kind, json.dumps(json.loads(text)) if text and "json" in kind else text


SAME = [
    *(
        ("front proxy", "GET", f"{GROUP}/{path}", ADMIN)
        for path in ("v1beta3", "v1beta2/namespaces/x", "v1beta2/a/b/c/d/e")
    ),
    *(
        ("front proxy", "GET", METRIC.replace("v1beta2", version), headers)
        for version in ("v1beta1", "v1beta2", "v1beta3")
        for headers in (
            ADMIN,
            READER,
            READER | {"X-Remote-Group": "a", "X-Remote-Extra-Scopes%2Fx": "y"},
            {"X-Remote-User": "mallory"},
            {"X-Remote-User": "system:anonymous", "X-Remote-Group": "system:unauthenticated"},
            {"X-Remote-Group": "system:masters"},
            {"X-Remote-User": ""},
            {},
        )
    ),
    *(("front proxy", "GET", f"{GROUP}/v1beta2", headers) for headers in ({}, {"X-Remote-Group": "system:masters"})),
    *(
        ("front proxy", method, METRIC, headers)
        for method in ("HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
        for headers in (ADMIN, READER)
    ),
    *(
        ("front proxy", "GET", METRIC.replace(*change), ADMIN)
        for change in (
            ("pf-metrics-server", "other"),
            (DEPTH, "other"),
            ("services", "services."),
            ("services", "pods"),
            ("NAMESPACE", "default"),
            ("NAMESPACE", "nowhere"),
            (DEPTH, f"{DEPTH}/"),
            (DEPTH, f"{DEPTH}/more"),
            (DEPTH, f"{DEPTH}?metricLabelSelector="),
            (DEPTH, f"{DEPTH}?watch=true"),
            ("pf-metrics-server", "%2A%2A"),
        )
    ),
    *(("another name", "GET", path, headers) for path in (METRIC, GROUP) for headers in (ADMIN, {})),
]
"""Good and bad ones, to which the answer is the library's to the letter."""


@pytest.mark.parametrize("request_", SAME, ids=lambda each: " ".join(map(str, each)))
def test_the_answer_is_the_librarys(both, request_):
    ours, librarys = both(*request_)
    assert ours == librarys


DIFFERENT = {
    "whoever shows no certificate is nobody, not `system:anonymous`": (("none", "GET", METRIC, ADMIN), 401, 403),
    "and finds no health page": (("none", "GET", "/healthz", {}), 401, 200),
    "a malformed selector is the caller's mistake": (
        ("front proxy", "GET", f"{METRIC}?metricLabelSelector=((", ADMIN), 400, 500,
    ),
    "a selector with `!=` is one": (("front proxy", "GET", f"{METRIC}?metricLabelSelector=a!%3Db", ADMIN), 200, 500),
    "what is selected by nothing is counted: by one reading it is unknown": (
        ("front proxy", "GET", f"{METRIC}?metricLabelSelector=payee%3Dnobody", ADMIN), 200, 404,
    ),
    "a resource that nobody knows has no metric": (
        ("front proxy", "GET", METRIC.replace("services", "nothings"), ADMIN), 404, 500,
    ),
    "there is JSON, whatever is accepted": (("front proxy", "GET", METRIC, ADMIN | {"Accept": "text/html"}), 200, 406),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT.values(), ids=DIFFERENT)
def test_where_we_differ_on_purpose(both, served, case):
    request_, mine, its = case
    world, _ = served

    def asked() -> list[int]:
        return [status for status, *_ in both(*request_)]

    world.await_(lambda: asked() == [mine, its], "by two readings at the latest")


def test_discovery_names_both_versions_and_each_metric(both):
    """The library's group names one version of the two that it serves, and one path in place of its metrics."""
    (*_, ours), (*_, librarys) = both("front proxy", "GET", GROUP, READER)
    assert [one["version"] for one in json.loads(ours)["versions"]] == ["v1beta1", "v1beta2"]
    assert [one["version"] for one in json.loads(librarys)["versions"]] == ["v1beta1"]
    assert [*json.loads(ours)] == [*json.loads(librarys)]
    (*_, ours), (*_, librarys) = both("front proxy", "GET", f"{GROUP}/v1beta2", READER)
    (mine, *_), (its,) = json.loads(ours)["resources"], json.loads(librarys)["resources"]
    assert mine["name"] == f"services/{DEPTH}"
    assert [*mine] == [*its]
