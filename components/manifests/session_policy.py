"""Who may get into a container that holds the payer's key, while it runs.

The API server tells a policy the name of the pod and of the container, not what the container holds: so what counts is
the container's name. Whoever may get the Secret may get in.
"""

from components.manifests import admission, key_holders, naming
from components.manifests.admission import Refusal, cel, may, on
from components.manifests.naming import Manifest
from components.settings import Settings


def policy(settings: Settings) -> Manifest:
    """The ValidatingAdmissionPolicy."""
    ours = key_holders.names(settings)
    # The sidecar listens on its pod's loopback, where a forwarded port ends: it would act for whoever forwards it.
    forwarding = ["pods/portforward"] if settings.mcp.enabled else []
    may_read = may("get", "secrets", cel(settings.payer_secret))
    return admission.policy(
        settings,
        naming.SESSION_POLICY,
        [on("CONNECT", "pods/exec", "pods/attach", *forwarding)],
        {"container": "dyn(object).?container.orValue('')"},
        [
            Refusal(
                # Where no container is named the API server takes a pod's only one.
                "request.?subResource.orValue('') == 'portforward'"
                f" || !(variables.container in {cel(['', *ours])}) || {may_read}",
                f"the containers {', '.join(ours)} hold the API key, or may: whoever may get the Secret"
                f" {settings.payer_secret} may exec into them and attach to them; for another container name it (-c)",
            ),
            Refusal(
                f"request.?subResource.orValue('') != 'portforward' || {may_read}",
                f"the MCP sidecar of an agent's pod acts with the API key for whoever reaches its port: whoever may get"
                f" the Secret {settings.payer_secret} may forward ports",
            ),
        ],
    )
