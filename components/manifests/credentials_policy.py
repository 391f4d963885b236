"""Which pods hold the payer's key: a Role does not stop a `secretKeyRef`, since the kubelet resolves it.

Matches pods, whoever makes them, so a Job's or a CronJob's pods as well.
"""

from components.manifests import admission, credentials, key_holders, naming
from components.manifests.admission import Refusal, cel, may, on
from components.manifests.naming import Manifest
from components.settings import Settings


def allowed_accounts(settings: Settings) -> list[str]:
    """ServiceAccounts whose pods may refer to the Secret."""
    return [*key_holders.accounts(settings), *settings.admission.allowed_service_accounts]


def policy(settings: Settings) -> Manifest:
    """The ValidatingAdmissionPolicy."""
    return admission.policy(
        settings,
        naming.CREDENTIALS_POLICY,
        # References never change once a pod is made, but images do, and debugging containers come later. Every other
        # update must pass: pods from before the policy have labels and finalizers that controllers take off.
        [on("CREATE,UPDATE", "pods"), on("UPDATE", "pods/ephemeralcontainers")],
        _variables(settings),
        _refusals(settings),
    )


def _variables(settings: Settings) -> dict[str, str]:
    name = cel(settings.payer_secret)
    by_volume = (
        f"v.?secret.?secretName.orValue('') == {name}"
        f" || v.?csi.?nodePublishSecretRef.?name.orValue('') == {name}"
        f" || v.?projected.?sources.orValue([]).exists(s, s.?secret.?name.orValue('') == {name})"
    )
    refers = (
        f"c.?env.orValue([]).exists(e, e.?valueFrom.?secretKeyRef.?name.orValue('') == {name})"
        f" || c.?envFrom.orValue([]).exists(e, e.?secretRef.?name.orValue('') == {name})"
    )
    images = " || ".join(
        f"object.spec.?{part}.orValue([]).map(c, c.image) != oldObject.spec.?{part}.orValue([]).map(c, c.image)"
        for part in ("containers", "initContainers")
    )
    return {
        "judged": f"request.operation == 'CREATE' || {images}",
        "containers": "object.spec.containers + object.spec.?initContainers.orValue([])",
        "debuggers": "object.spec.?ephemeralContainers.orValue([])",
        "keyVolumes": f"object.spec.?volumes.orValue([]).filter(v, {by_volume}).map(v, v.name)",
        "holders": f"variables.containers.filter(c, {key_holders.holds_key(settings, 'c', 'variables.keyVolumes')})",
        "refers": "variables.keyVolumes.size() > 0"
        f" || variables.containers.exists(c, {refers}) || variables.debuggers.exists(c, {refers})",
    }


def _refusals(settings: Settings) -> list[Refusal]:
    secret, allowed = settings.payer_secret, allowed_accounts(settings)
    ours = ", ".join(key_holders.names(settings)) or "none"
    return [
        Refusal(
            "!variables.judged || !variables.refers"
            f" || object.spec.?serviceAccountName.orValue('default') in {cel(allowed)}",
            f"only pods of {', '.join(allowed)} may use the Secret {secret};"
            " add yours to purpleflea.admission.allowedServiceAccounts",
        ),
        Refusal(
            f"!variables.judged || variables.holders.all(c, {key_holders.is_known(settings, 'c')})",
            f"the API key in the Secret {secret} is for the stack's own containers ({ours}), with image, command,"
            " environment and mounts as the stack renders them; any other container may refer to"
            f" {', '.join(credentials.public_keys(settings))} alone",
        ),
        Refusal(
            "!variables.judged || variables.holders.size() == 0 || !object.spec.?shareProcessNamespace.orValue(false)",
            f"a pod with the API key in the Secret {secret} may not share its process namespace: every container could"
            " read the key there",
        ),
        Refusal(
            "!variables.judged || variables.holders.size() == 0"
            " || namespaceObject.metadata.?labels[?'pod-security.kubernetes.io/enforce'].orValue('') == 'restricted'",
            f"the namespace {settings.namespace} does not enforce the restricted Pod Security level, which keeps the"
            f" API key from whoever may create pods: kubectl label namespace {settings.namespace}"
            " pod-security.kubernetes.io/enforce=restricted",
        ),
        Refusal(
            "request.?subResource.orValue('') != 'ephemeralcontainers' || variables.debuggers.size() == 0"
            f" || !variables.refers || {may('get', 'secrets', cel(secret))}",
            f"the pod has the Secret {secret}, and a debugging container could read it: whoever may get that Secret may"
            " debug the pod",
        ),
    ]
