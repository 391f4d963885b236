"""The payroll of the Kubernetes guide, as it stands there, but for an end after the first `LIMIT` escrows."""

import os
import time

import httpx

PF_API_KEY = os.environ["PF_API_KEY"]
PF_ESCROW = os.environ.get("PF_ESCROW_URL", "https://escrow.purpleflea.com")
HEADERS = {"Authorization": f"Bearer {PF_API_KEY}", "Content-Type": "application/json"}
LIMIT = int(os.environ["LIMIT"])

r = httpx.get(f"{PF_ESCROW}/api/escrows?status=pending", headers=HEADERS, timeout=20)
escrows = r.json().get("escrows", [])
print(f"[payroll] Found {len(escrows)} pending escrows")
released = 0
for esc in escrows[:LIMIT]:
    age_min = (time.time() - esc["created_at"]) / 60
    if age_min < int(os.environ["AGE"]):
        print(f"  Skip {esc['escrow_id']} (age {age_min:.1f}m < 50m)")
        continue
    try:
        rel = httpx.post(f"{PF_ESCROW}/api/escrow/{esc['escrow_id']}/release", headers=HEADERS, timeout=15)
        result = rel.json()
        print(f"  Released {esc['escrow_id']}: ${result.get('amount_released', '?'):.4f}")
        released += 1
    except Exception as e:
        print(f"  FAILED {esc['escrow_id']}: {e}")
print(f"[payroll] Done. Released {released}/{len(escrows)} escrows.")
