"""A tenant who may do everything in a world's namespace, in which the stack's policies are in force."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightkube
from lightkube import ApiError, KubeConfig, codecs
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ServiceAccount
from lightkube.resources.rbac_authorization_v1 import Role, RoleBinding
from lightkube.types import PatchType

from components.manifests import account_policy, admission, ledger_policy
from runtime.kubernetes.new_escrow import new_escrow
from tests.runtime.operator.world import Escrow, World, eventually

OWN_WORKERS = "cloud-workers"
"""A ServiceAccount of the platform's, under which workers may run."""
ALL = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]


@contextmanager
def hostile(world: World) -> Iterator[lightkube.Client]:
    """The tenant's client; the policies end with the block."""
    settings = world.settings()
    admitted = settings.admission.model_copy(update={"allowed_service_accounts": (OWN_WORKERS,)})
    settings = settings.model_copy(update={"admission": admitted})
    policies = [ledger_policy.policy(settings), account_policy.policy(settings)]
    bindings = [ledger_policy.binding(settings), admission.binding(settings, policies[1])]
    for each in (*policies, *bindings):
        world.client.apply(codecs.from_dict(each), field_manager="tests", force=True)
    client = _client(world)
    eventually(lambda: refused(lambda: client.create(account("early"), dry_run=True)), "the ledger's policy acts")
    lease = Lease.from_dict({"metadata": {"name": "escrow-0"}, "spec": {}})
    eventually(lambda: refused(lambda: client.create(lease, dry_run=True)), "the accounts' policy acts")
    try:
        yield client
    finally:
        for each in (*bindings, *policies):
            world.client.delete(type(codecs.from_dict(each)), each["metadata"]["name"])


def _client(world: World) -> lightkube.Client:
    world.client.create(Role.from_dict({"metadata": {"name": "everything"}, "rules": ALL}))
    return client_of(world, "tenant")


def client_of(world: World, account: str) -> lightkube.Client:
    """The client of a ServiceAccount that may do everything in the namespace."""
    world.client.apply(ServiceAccount(metadata=ObjectMeta(name=account)), field_manager="tests")
    subject = {"kind": "ServiceAccount", "name": account, "namespace": world.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "everything"}
    bound = {"metadata": {"name": f"{account}-may-do-everything"}, "roleRef": role, "subjects": [subject]}
    world.client.create(RoleBinding.from_dict(bound))
    kubeconfig = KubeConfig.from_file(world.cluster.kubeconfig_for(account, world.namespace))
    return lightkube.Client(config=kubeconfig, namespace=world.namespace, trust_env=False)


def account(uid: str) -> Any:
    """An Escrow of a Job of that UID."""
    wanted = new_escrow(
        "", "job", uid, dialect="server", token="pf-token-1", escrow_id="esc_1", payee=None, amount=None
    )
    del wanted["metadata"]["namespace"], wanted["metadata"]["finalizers"]
    return Escrow(wanted)


def refused(act: Callable[[], Any]) -> str:
    """The words of a policy of ours, or of a definition; empty if the API server does it."""
    try:
        act()
    except ApiError as error:
        if "is set once" not in str(error) and (error.status.code != 403 or "purpleflea.com" not in str(error)):
            raise
        return str(error)
    return ""


def patched(client: lightkube.Client, kind: Any, name: str, body: dict) -> str:
    """The same of a merge patch."""
    return refused(lambda: client.patch(kind, name, body, patch_type=PatchType.MERGE))
