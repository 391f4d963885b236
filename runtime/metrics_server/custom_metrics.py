"""The custom metrics API, versions v1beta1 and v1beta2: paths in, statuses and bodies out. No I/O.

It answers as `sigs.k8s.io/custom-metrics-apiserver` does, word for word where a client may read it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from runtime.contract import (
    CUSTOM_METRICS_GROUP,
    CUSTOM_METRICS_VERSIONS,
    METRICS_SERVICE,
    QUEUE_AGE_METRIC,
    QUEUE_METRIC,
    QUEUE_VALUE_METRIC,
)
from runtime.metrics_server.reading import Figures, Unknown
from runtime.metrics_server.selectors import MalformedSelector, Selector, parse

Json = dict[str, Any]
Tell = Callable[[Selector | None], Figures]
"""What may be told of whatever a selector selects; raises `Unknown`."""

METRICS: Final = (QUEUE_METRIC, QUEUE_AGE_METRIC, QUEUE_VALUE_METRIC)
ROOT: Final = f"/apis/{CUSTOM_METRICS_GROUP}"
DISCOVERY_KIND: Final = "APIGroupDiscoveryList"
DISCOVERY_ACCEPTED: Final = f"g=apidiscovery.k8s.io;v=v2;as={DISCOVERY_KIND}"
_VERBS: Final = {
    "GET": "get",
    "HEAD": "get",  # for who may ask; the library then answers it with 405
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


class Refusal(Exception):
    """What is answered instead: a `Status`, as Kubernetes' clients read it."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            **({"reason": reason} if reason else {}),
            **({} if details is None else {"details": details}),
            "code": code,
        }


@dataclass(frozen=True)
class Asked:
    """What a request is for.

    Args:
        method: Of the request.
        path: As it came, without its query.
        version: Of the API; empty above the versions.
        parts: `namespaces/NS/services/NAME/METRIC`, what there is of it.
        query: Its parameters.
        accept: The header of that name.
    """

    method: str
    path: str
    version: str
    parts: tuple[str, ...]
    query: Mapping[str, list[str]]
    accept: str = ""

    @classmethod
    def of(cls, method: str, path: str, query: bytes, accept: str = "") -> "Asked":
        """`path` is decoded already."""
        _, _, rest = path.partition(f"{ROOT}/") if path.startswith(f"{ROOT}/") else ("", "", "")
        version, *parts = rest.rstrip("/").split("/")
        parameters = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=20)
        return cls(method, path, version, tuple(parts), parameters, accept)

    @property
    def verb(self) -> str:
        """Kubernetes' word; empty where it has none."""
        return _VERBS.get(self.method, "")

    @property
    def is_metric(self) -> bool:
        """Whether it names a metric of one object, as HPAs do; of whatever version, as Kubernetes reads paths."""
        return len(self.parts) == 5 and self.parts[0] == "namespaces"

    @property
    def attributes(self) -> Mapping[str, Mapping[str, str]]:
        """What is asked of a SubjectAccessReview."""
        if not self.is_metric:
            return {"nonResourceAttributes": {"path": self.path, "verb": self.verb}}
        _, namespace, resource, name, metric = self.parts
        return {
            "resourceAttributes": {
                "namespace": namespace,
                "verb": self.verb,
                "group": CUSTOM_METRICS_GROUP,
                "version": self.version,
                "resource": resource,
                "subresource": metric,
                "name": name,
            }
        }

    def forbidden(self, user: str, reason: str) -> Refusal:
        """What somebody is told who may not."""
        because = f": {reason}" if reason else ""
        if not self.is_metric:
            words = f'forbidden: User "{user}" cannot {self.verb} path "{self.path}"{because}'
            return Refusal(403, "Forbidden", words, {})
        _, namespace, resource, name, metric = self.parts
        what = f'cannot {self.verb} resource "{resource}/{metric}" in API group "{CUSTOM_METRICS_GROUP}"'
        words = f'User "{user}" {what} in the namespace "{namespace}"{because}'
        subject = f'{resource}.{CUSTOM_METRICS_GROUP} "{name}" is forbidden: '
        return Refusal(
            403, "Forbidden", subject + words, {"name": name, "group": CUSTOM_METRICS_GROUP, "kind": resource}
        )


def answer(asked: Asked, namespace: str, tell: Tell) -> Json:
    """The body of a yes. Raises `Refusal`."""
    if asked.method != "GET":
        raise Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})
    if asked.path.rstrip("/") == "/apis" and DISCOVERY_ACCEPTED in asked.accept.replace(" ", ""):
        return _discovery()
    if asked.path.rstrip("/") == ROOT:
        return _group()
    served = asked.version in CUSTOM_METRICS_VERSIONS
    if served and not asked.parts:
        return _resources(asked.version)
    if not (served and asked.is_metric):
        raise Refusal(404, "NotFound", "the server could not find the requested resource", {})
    _, where, resource, name, metric = asked.parts
    if resource not in ("services", "services.") or where != namespace or metric not in METRICS:
        raise _no_metric(resource, name, metric)
    selector = None
    text = next(iter(asked.query.get("metricLabelSelector", [])), "")
    try:
        selector = parse(text) if text.strip() else None
    except MalformedSelector as error:
        raise Refusal(400, "BadRequest", f"metricLabelSelector: {error}") from None
    if name == "*" and not asked.query.get("labelSelector", [""])[0]:
        name = METRICS_SERVICE
    if name != METRICS_SERVICE:
        raise _no_metric(resource, name, metric)
    try:
        figures = tell(selector)
        return _value(asked.version, namespace, metric, quantity(figures, metric), figures.age_seconds)
    except Unknown as error:
        raise Refusal(503, "ServiceUnavailable", f"{metric} is unknown: {error}") from None


def quantity(figures: Figures, metric: str) -> str:
    """A figure as Kubernetes writes quantities. Raises `Unknown`; it never is null or negative: both would be zero."""
    if metric == QUEUE_METRIC:
        return str(figures.depth)
    if metric == QUEUE_AGE_METRIC:
        if figures.oldest_seconds is None:
            raise Unknown("the service does not say since when each escrow is locked")
        return str(int(figures.oldest_seconds))
    if figures.micro is None:
        raise Unknown("the service does not say how much is locked in each escrow")
    whole, rest = divmod(figures.micro, 1_000_000)
    if not rest:
        return str(whole)
    return f"{figures.micro // 1000}m" if not rest % 1000 else f"{figures.micro}u"


def _no_metric(resource: str, name: str, metric: str) -> Refusal:
    kind = resource.rstrip(".")
    words = f"the server could not find the metric {metric} for {kind} {name}"
    return Refusal(404, "NotFound", words)


def _group() -> Json:
    versions = [{"groupVersion": f"{CUSTOM_METRICS_GROUP}/{v}", "version": v} for v in CUSTOM_METRICS_VERSIONS]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": CUSTOM_METRICS_GROUP,
        "versions": versions,
        "preferredVersion": versions[-1],
    }


def _discovery() -> Json:
    """All at once. The aggregator asks for it under a name without rights to the older way, which it falls back to."""

    def version(name: str) -> Json:
        kind = {"group": CUSTOM_METRICS_GROUP, "version": name, "kind": "MetricValueList"}
        metrics = [{"subresource": metric, "responseKind": kind, "verbs": ["get"]} for metric in METRICS]
        services = {"resource": "services", "scope": "Namespaced", "verbs": None, "subresources": metrics}
        return {"version": name, "freshness": "Current", "resources": [services]}

    versions = [version(name) for name in reversed(CUSTOM_METRICS_VERSIONS)]
    group = {"metadata": {"name": CUSTOM_METRICS_GROUP, "creationTimestamp": None}, "versions": versions}
    return {"kind": DISCOVERY_KIND, "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": [group]}


def _resources(version: str) -> Json:
    kind = {"singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{CUSTOM_METRICS_GROUP}/{version}",
        "resources": [{"name": f"services/{metric}", **kind} for metric in METRICS],
    }


def _value(version: str, namespace: str, metric: str, value: str, age_seconds: float) -> Json:
    read_at = datetime.now(UTC) - timedelta(seconds=age_seconds)
    newer = version != "v1beta1"
    item: Json = {
        "describedObject": {"kind": "Service", "namespace": namespace, "name": METRICS_SERVICE, "apiVersion": "/v1"},
        **({"metric": {"name": metric, "selector": None}} if newer else {"metricName": metric}),
        "timestamp": read_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "value": value,
        **({} if newer else {"selector": None}),
    }
    return {
        "kind": "MetricValueList",
        "apiVersion": f"{CUSTOM_METRICS_GROUP}/{version}",
        "metadata": {},
        "items": [item],
    }


UNAUTHORIZED: Final = Refusal(401, "Unauthorized", "Unauthorized")
"""For whoever did not come through the front proxy."""


def internal(message: str) -> Refusal:
    """For what went wrong on our side."""
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", f"Internal error occurred: {message}")
