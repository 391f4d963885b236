"""The stack: settings in, components in order, outputs out.

`pulumi preview`, `pulumi up`, `make render` and `make up` all run this file.
"""

import pulumi

from components import rendering, stack_config
from components.agent_jobs import AgentJobs
from components.agent_namespace import AgentNamespace
from components.agent_workers import AgentWorkers
from components.artifact import ArtifactFolder
from components.autoscaling import Autoscaling
from components.component import StackArgs
from components.credentials import Credentials
from components.escrow_ledger import EscrowLedger
from components.escrow_operator import EscrowOperator
from components.extra_manifests import ExtraManifests
from components.fly_app import FlyApp
from components.manifests.encryption import encryption_files
from components.network_policies import NetworkPolicies
from components.outputs import stack_outputs
from components.payroll import Payroll
from components.sandbox import Sandbox


def after(*resources: pulumi.Resource) -> pulumi.ResourceOptions:
    """Created after these, and deleted before them."""
    return pulumi.ResourceOptions(depends_on=[*resources])


def declare(stack: stack_config.StackConfig) -> None:
    """The objects of the cluster, each component after what it needs."""
    settings = stack.settings
    args: StackArgs = {"settings": settings}
    # Only what `destroy` leaves may be there already; what it would delete must not be somebody else's.
    kept = settings.retention.keep_escrows
    keeping = pulumi.ResourceOptions(provider=stack_config.adopting_provider()) if kept else None
    ledger = EscrowLedger("ledger", args, keeping)
    namespace = AgentNamespace("namespace", args, keeping)
    key = {} if stack.api_key is None else {"api_key": stack.api_key}
    ground = [namespace, Credentials("credentials", {**args, **key}, after(namespace))]
    if settings.network_policy.enabled:
        ground.append(NetworkPolicies("network", args, after(namespace)))
    if settings.sandbox.enabled:
        ground.append(Sandbox("sandbox", args, after(*ground)))
    payer = [EscrowOperator("operator", args, after(ledger, *ground))] if settings.operator.enabled else []
    if settings.worker.enabled:
        workers = AgentWorkers("workers", args, after(*ground))
        if settings.hpa.enabled:
            Autoscaling("autoscaling", args, after(workers, *ground))
        if settings.payroll.enabled:
            Payroll("payroll", args, after(ledger, workers, *ground))
    # Declared even where there is nothing to write: what a stack no longer has is removed from its folder.
    FlyApp("fly", {**args, "folder": folder})
    ArtifactFolder("encryption", {"folder": folder, "files": encryption_files(settings)})
    extras = ExtraManifests("extra", {**args, "manifests": stack.extra_manifests}, after(ledger, *ground, *payer))
    # Last, so that they go first: a Job is only gone when the operator has settled it and let go.
    AgentJobs("jobs", args, after(ledger, *ground, *payer, extras))


folder = f"dist/{pulumi.get_stack()}"
config = stack_config.read()
if config.settings.target == "artifacts":
    files = rendering.render(config.values, config.folder)
    ArtifactFolder("dist", {"folder": folder, "files": files})
elif config.settings.enabled:
    declare(config)
for output, value in stack_outputs(config.settings).items():
    pulumi.export(output, value)
