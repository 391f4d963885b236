"""Every name that one object of a stack uses for another, and whether there is such an object."""

from collections.abc import Iterator
from typing import Any

from components.manifests import agent_pod, credentials
from components.settings import Settings

Manifest = dict[str, Any]
BUILT_IN = {
    ("ClusterRole", "system:auth-delegator"),
    ("Role", "extension-apiserver-authentication-reader"),
    ("ServiceAccount", "keda-operator"),  # KEDA's own, in its namespace
}


def dangling(settings: Settings, objects: list[Manifest]) -> list[str]:
    """Each reference to something that neither the stack declares nor the settings call pre-existing."""
    declared = {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects}
    here = settings.namespace
    declared |= {
        ("Secret", here, name) for name in (settings.credentials.existing_secret, *settings.images.pull_secrets)
    }
    declared |= {("Secret", here, agent_pod.Identity.of(agent).secret) for agent in settings.agents}
    bundle = settings.network.ca_bundle
    declared |= {("Secret", here, bundle.secret), ("ConfigMap", here, bundle.config_map)}
    keeping = settings.retention
    declared |= {("Secret", here, keeping.archive_secret), ("PersistentVolumeClaim", here, keeping.archive_claim)}
    declared |= {("Issuer", here, settings.hpa.metrics_server.issuer)}
    declared |= {("Secret", here, o["spec"]["secretName"]) for o in objects if o["kind"] == "Certificate"}
    missing = []
    for o in objects:
        for kind, name in _references(o):
            places = (o["metadata"].get("namespace"), here, None)
            if (kind, name) not in BUILT_IN and not any((kind, place, name) in declared for place in places):
                missing.append(f"{o['kind']} {o['metadata']['name']} → {kind} {name}")
    return missing + list(_ports(objects)) + list(_keys(settings, objects))


def pod_specs(o: Manifest) -> Iterator[tuple[Manifest, Manifest]]:
    """Each pod template in an object: its labels and its spec."""
    spec = o.get("spec", {})
    for template in (spec.get("template"), spec.get("jobTemplate", {}).get("spec", {}).get("template")):
        if template:
            yield template["metadata"]["labels"], template["spec"]


def containers(pod: Manifest) -> list[Manifest]:
    """All containers of a pod."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


def _references(o: Manifest) -> Iterator[tuple[str, str]]:
    for _, pod in pod_specs(o):
        yield from _pod_references(pod)
    spec = o.get("spec", {})
    match o["kind"]:
        case "RoleBinding" | "ClusterRoleBinding":
            yield o["roleRef"]["kind"], o["roleRef"]["name"]
            yield from (("ServiceAccount", subject["name"]) for subject in o["subjects"])
        case "HorizontalPodAutoscaler":
            yield spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]
            if described := spec["metrics"][0].get("object"):
                yield "Service", described["describedObject"]["name"]
        case "ScaledObject":
            yield spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]
            yield "Service", spec["triggers"][0]["metadata"]["url"].split("/")[2].split(".")[0]
            yield "TriggerAuthentication", spec["triggers"][0]["authenticationRef"]["name"]
        case "TriggerAuthentication":
            yield from (("ServiceAccount", one["serviceAccountName"]) for one in spec["boundServiceAccountToken"])
        case "APIService":
            yield "Service", spec["service"]["name"]
        case "Certificate":
            yield "Issuer", spec["issuerRef"]["name"]
        case "ValidatingAdmissionPolicyBinding":
            yield "ValidatingAdmissionPolicy", spec["policyName"]


def _pod_references(pod: Manifest) -> Iterator[tuple[str, str]]:
    yield "ServiceAccount", pod["serviceAccountName"]
    yield from (("Secret", secret["name"]) for secret in pod.get("imagePullSecrets", ()))
    for volume in pod.get("volumes", ()):
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        elif "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        elif "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        else:
            assert {"emptyDir", "projected"} & {*volume}, f"a kind of volume that this test does not know: {volume}"
    for container in containers(pod):
        for source in container.get("envFrom", ()):
            [(kind, of)] = source.items()
            yield {"secretRef": "Secret", "configMapRef": "ConfigMap"}[kind], of["name"]
        for source in (variable.get("valueFrom", {}) for variable in container.get("env", ())):
            assert set(source) <= {"secretKeyRef", "fieldRef"}, f"a source that this test does not know: {source}"
            if "secretKeyRef" in source:
                yield "Secret", source["secretKeyRef"]["name"]


def _keys(settings: Settings, objects: list[Manifest]) -> Iterator[str]:
    ours = credentials.secret(settings, "")["stringData"]
    for o in objects:
        for _, pod in pod_specs(o):
            used = [
                v["valueFrom"]["secretKeyRef"]["key"]
                for c in containers(pod)
                for v in c.get("env", ())
                if "secretKeyRef" in v.get("valueFrom", {})
            ]
            secrets = [v["secret"] for v in pod.get("volumes", ()) if "secret" in v]
            others = settings.network.ca_bundle.secret
            used += [item["key"] for s in secrets if s["secretName"] != others for item in s.get("items", ())]
            yield from (f"{o['metadata']['name']} → key {key}" for key in used if key not in ours)


def _ports(objects: list[Manifest]) -> Iterator[str]:
    """Ports by name, volumes by mount, pods by selector."""
    templates = [template for o in objects for template in pod_specs(o)]
    for _, pod in templates:
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        for container in containers(pod):
            named = {port["name"] for port in container.get("ports", ())}
            mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
            probed = {v["httpGet"]["port"] for k, v in container.items() if k.endswith("Probe")}
            yield from (f"{container['name']}: no volume {name}" for name in mounted - volumes)
            yield from (f"{container['name']}: no port {name}" for name in probed - named)
    for o in objects:
        if o["kind"] != "Service":
            continue
        chosen = [pod for labels, pod in templates if o["spec"]["selector"].items() <= labels.items()]
        if not chosen:
            yield f"Service {o['metadata']['name']} selects no pod"
        for port in o["spec"]["ports"]:
            if not all(
                any(port["targetPort"] == p["name"] for c in containers(pod) for p in c.get("ports", ()))
                for pod in chosen
            ):
                yield f"Service {o['metadata']['name']}: no port {port['targetPort']}"
