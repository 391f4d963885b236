"""Sections about the platform: images, network policy, encryption at rest, monitoring."""

from typing import Annotated, Literal

from pydantic import Field

from components.settings.section import Section
from components.settings.values import (
    Cidr,
    DnsLabel,
    DnsName,
    Image,
    LabelKey,
    LabelValue,
    Matching,
    OptionalDnsName,
    OptionalUrl,
    SecretKey,
    TcpPort,
)
from runtime.contract import VERSION

Host = Annotated[
    str, Matching(r"[A-Za-z0-9.:/*_-]{1,253}", "a host, a domain or a network, without blanks or commas", ".example")
]
Labels = dict[LabelKey, LabelValue]
KeyId = Annotated[
    str, Matching(r"[A-Za-z0-9:/_.@=+-]{0,512}", "at most 512 of A-Z, a-z, 0-9 and ':/_.@=+-'", "alias/my-key")
]
Socket = Annotated[
    str, Matching(r"unix:///[A-Za-z0-9/_.-]+", "a Unix socket by its absolute path, e.g. 'unix:///a/b'", "unix:///a/b")
]


class Images(Section):
    """Where containers come from."""

    runtime: Image = f"purpleflea/runtime:{VERSION}"
    """The image of every program in this project, of your own build (`make image`): by digest, unless the stack has a
    sandbox, for which any tag will do."""
    allow_tag: bool = False
    """Whether a tag names such an image on purpose, or `fly.baseImage`: whoever may push it gets the payer's key."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When the node pulls; `IfNotPresent` suits pinned tags."""
    pull_secrets: tuple[DnsName, ...] = ()
    """Existing image pull Secrets in the namespace."""


class Proxy(Section):
    """The company's HTTP proxy, for every container of the stack. The programs ask the API server directly."""

    https_url: OptionalUrl = ""
    """For `https://` services, as `http://proxy.example:3128`. No password: settings stand in the clear."""
    http_url: OptionalUrl = ""
    """For `http://` services."""
    no_proxy: tuple[Host, ...] = ()
    """Hosts, domains (`.example`) and networks that are asked directly, besides the cluster's own."""


class CaBundle(Section):
    """The company's certificates, in place of the public ones: the file holds all that are to be trusted."""

    config_map: OptionalDnsName = ""
    """ConfigMap in the namespace with the PEM file; one that no tenant may change, for it decides who gets the key."""
    secret: OptionalDnsName = ""
    """A Secret instead."""
    key: SecretKey = "ca.crt"
    """Key of the PEM file in it."""


class Network(Section):
    """What stands between the pods and the payment service."""

    proxy: Proxy = Proxy()
    """The proxy on the way out."""
    ca_bundle: CaBundle = CaBundle()
    """Whom to trust."""


class Dns(Section):
    """The cluster's DNS service."""

    namespace: DnsLabel = "kube-system"
    """Namespace of the DNS pods."""
    pod_labels: Labels = {"k8s-app": "kube-dns"}
    """Labels of the DNS pods."""
    cidrs: tuple[Cidr, ...] = ("169.254.20.10/32",)
    """Networks of node-local DNS caches, which are no pods."""
    ports: tuple[TcpPort, ...] = (53,)
    """Ports of the DNS pods, TCP and UDP; OpenShift's listen on 5353."""


class ApiServer(Section):
    """The Kubernetes API server. Policies see its address, not a pod, so it is named by network."""

    cidrs: tuple[Cidr, ...] = ("0.0.0.0/0", "::/0")
    """Networks of the API server's endpoints (`kubectl get endpoints kubernetes`); narrow it in production."""
    ports: tuple[TcpPort, ...] = (443, 6443)
    """TCP ports: the Service's and the endpoints', since policies differ in which one they see."""


class Egress(Section):
    """Where agents and the stack's programs may go to outside the cluster."""

    cidrs: tuple[Cidr, ...] = ("0.0.0.0/0", "::/0")
    """Networks of the payment services and whatever else agents call."""
    excluded_cidrs: tuple[Cidr, ...] = (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
        "64:ff9b:1::/48",
    )
    """Networks left out of them: private ones, so pods, nodes and the cloud's metadata service stay out of reach; also
    as a NAT64 gateway has them (`64:ff9b::/96`)."""
    ports: tuple[TcpPort, ...] = (443,)
    """TCP ports."""


class NetworkPolicy(Section):
    """Default deny, then only what each program needs. NetworkPolicy knows addresses, not host names."""

    enabled: bool = True
    """Whether the stack has NetworkPolicies; the cluster's network plug-in must enforce them."""
    dns: Dns = Dns()
    """Where DNS is."""
    api_server: ApiServer = ApiServer()
    """Where the API server is."""
    egress: Egress = Egress()
    """Where the outside is."""
    monitoring_namespace: DnsLabel = "monitoring"
    """Namespace whose pods may scrape the metrics ports."""
    keda_namespace: DnsLabel = "keda"
    """Namespace of KEDA, which reads the queue's depth where it is the engine."""


class Encryption(Section):
    """Encryption of Secrets in etcd; a file for the control plane, not an object of the cluster."""

    provider: Literal["none", "aws", "gcp", "azure", "kms"] = "none"
    """Key service; `kms`: any local KMS v2 plug-in."""
    key_id: KeyId = ""
    """ARN, resource name or URL of the key; needed unless the provider is `none` or `kms`."""
    endpoint: Socket = "unix:///var/run/kmsplugin/socket.sock"
    """Unix socket of the KMS plug-in on the control-plane nodes."""
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 3
    """Seconds the API server waits for the plug-in."""


class Monitoring(Section):
    """Alerting rules for Prometheus and a dashboard for Grafana, as ConfigMaps; what Jobs cost, from OpenCost."""

    enabled: bool = False
    """Whether the stack has them."""
    runbook_url: OptionalUrl = ""
    """Where docs/runbook.md is published; each alert links to its section. Empty: the path of the page."""
    open_cost_url: OptionalUrl = ""
    """Where OpenCost answers whoever makes a statement, which then shows what each Job cost, and its margin."""
