"""What a script does that nobody measured: everything at once, as plain objects."""

import os
from decimal import Decimal

import httpx
from kubernetes import client, config

config.load_kube_config()
objects = client.CustomObjectsApi().list_cluster_custom_object("purpleflea.com", "v1alpha1", "escrows")["items"]
headers = {"Authorization": f"Bearer {os.environ['PF_API_KEY']}"}
service = {}
for status in ("pending", "released", "disputed"):
    answer = httpx.get(f"{os.environ['PF_ESCROW_URL']}/api/escrows?status={status}", headers=headers, timeout=60)
    service |= {escrow["escrow_id"]: escrow for escrow in answer.json()["escrows"]}
groups: dict[str, Decimal] = {}
for found in objects:
    agent = found["metadata"]["labels"]["purpleflea.com/agent"]
    groups[agent] = groups.get(agent, Decimal(0)) + Decimal(found["status"]["paidUsdc"])
    told = service[found["spec"]["escrowId"]]
    if Decimal(str(told["amount"])) != Decimal(found["status"]["lockedUsdc"]):
        print("differs:", found["metadata"]["name"])
for agent, paid in sorted(groups.items()):
    print(agent, paid)
