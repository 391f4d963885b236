# ruff: noqa
# operator/main.py — deploy as a Deployment in the cluster
# The operator of the Kubernetes guide, word for word: what ours is measured beside. Not a model for anything.
import os, time, httpx, logging
from kubernetes import client, config, watch

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
log = logging.getLogger("pf-operator")

PF_API_KEY = os.environ["PF_API_KEY"]
PF_ESCROW = os.environ.get("PF_ESCROW_URL", "https://escrow.purpleflea.com")
NAMESPACE = os.environ.get("WATCH_NAMESPACE", "agent-jobs")
ESCROW_ANNOT = "purpleflea.com/escrow-id"
HEADERS = {"Authorization": f"Bearer {PF_API_KEY}", "Content-Type": "application/json"}


def release_escrow(escrow_id: str):
    try:
        r = httpx.post(f"{PF_ESCROW}/api/escrow/{escrow_id}/release", headers=HEADERS, timeout=15)
        result = r.json()
        log.info(f"Released escrow {escrow_id}: ${result.get('amount_released', '?')} to {result.get('payee_id', '?')}")
    except Exception as e:
        log.error(f"Failed to release escrow {escrow_id}: {e}")


def dispute_escrow(escrow_id: str, reason: str):
    try:
        r = httpx.post(
            f"{PF_ESCROW}/api/escrow/{escrow_id}/dispute", headers=HEADERS, json={"reason": reason}, timeout=15
        )
        log.warning(f"Disputed escrow {escrow_id}: {r.json()}")
    except Exception as e:
        log.error(f"Failed to dispute escrow {escrow_id}: {e}")


def get_job_status(job) -> str:
    """Return 'succeeded', 'failed', or 'running'."""
    conds = job.status.conditions or []
    for c in conds:
        if c.type == "Complete" and c.status == "True":
            return "succeeded"
        if c.type == "Failed" and c.status == "True":
            return "failed"
    return "running"


def main():
    try:
        config.load_incluster_config()
        log.info("Using in-cluster config")
    except Exception:
        config.load_kube_config()
        log.info("Using local kubeconfig")

    batch_v1 = client.BatchV1Api()
    processed = set()  # avoid double-processing
    w = watch.Watch()

    log.info(f"Watching Jobs in namespace: {NAMESPACE}")
    for event in w.stream(batch_v1.list_namespaced_job, namespace=NAMESPACE, timeout_seconds=0):
        event_type = event["type"]
        job = event["object"]
        job_name = job.metadata.name
        annotations = job.metadata.annotations or {}

        if job_name in processed:
            continue

        escrow_id = annotations.get(ESCROW_ANNOT)
        if not escrow_id:
            continue  # not a Purple Flea job

        status = get_job_status(job)
        if status == "succeeded":
            log.info(f"Job {job_name} succeeded. Releasing escrow {escrow_id}")
            release_escrow(escrow_id)
            processed.add(job_name)
        elif status == "failed":
            log.warning(f"Job {job_name} failed. Disputing escrow {escrow_id}")
            dispute_escrow(escrow_id, f"K8s Job {job_name} failed after all retries")
            processed.add(job_name)


if __name__ == "__main__":
    while True:
        try:
            main()
        except Exception as e:
            log.error(f"Operator crashed: {e}. Restarting in 10s...")
            time.sleep(10)
