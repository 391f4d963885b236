# ruff: noqa: B904, SIM105, ASYNC
"""The Fly.io guide's Python agent, as it stands there; the model is an echo, and the folder is the one given."""

import os
import time
from contextlib import asynccontextmanager

import aiosqlite
import httpx
from fastapi import FastAPI, HTTPException

ESCROW_BASE = os.environ["ESCROW_BASE"]
AGENT_WALLET = os.environ["AGENT_WALLET"]
PF_API_KEY = os.environ["PF_API_KEY"]
FLY_REGION = os.getenv("FLY_REGION", "local")
DATA_DIR = os.environ["DATA_DIR"]
http: httpx.AsyncClient = None


@asynccontextmanager
async def lifespan(app: FastAPI):
    global http
    http = httpx.AsyncClient(
        headers={"Authorization": f"Bearer {PF_API_KEY}"},
        timeout=httpx.Timeout(connect=3.0, read=10.0, write=5.0, pool=1.0),
        limits=httpx.Limits(max_connections=50, max_keepalive_connections=20),
    )
    try:
        await http.get(f"{ESCROW_BASE}/health", timeout=5.0)
    except Exception:
        pass
    yield
    await http.aclose()


app = FastAPI(lifespan=lifespan)


async def create_escrow(payer: str, amount: float, desc: str) -> str:
    r = await http.post(
        f"{ESCROW_BASE}/api/escrow/create",
        json={
            "payer_wallet": payer,
            "payee_wallet": AGENT_WALLET,
            "amount_usdc": amount,
            "description": desc,
            "metadata": {"fly_region": FLY_REGION, "ts": time.time()},
        },
    )
    r.raise_for_status()
    return r.json()["escrow_id"]


async def release_escrow(escrow_id: str) -> None:
    r = await http.post(f"{ESCROW_BASE}/api/escrow/release", json={"escrow_id": escrow_id, "auto_release": True})
    r.raise_for_status()


async def cancel_escrow(escrow_id: str) -> None:
    await http.post(f"{ESCROW_BASE}/api/escrow/cancel", json={"escrow_id": escrow_id})


async def log_escrow(escrow_id: str, payer: str, amount: float, status: str):
    async with aiosqlite.connect(f"{DATA_DIR}/escrow.db") as db:
        await db.execute("""CREATE TABLE IF NOT EXISTS escrows (
id TEXT PRIMARY KEY, payer TEXT, amount REAL,
status TEXT, region TEXT, ts REAL)""")
        await db.execute(
            "INSERT OR REPLACE INTO escrows VALUES (?,?,?,?,?,?)",
            (escrow_id, payer, amount, status, FLY_REGION, time.time()),
        )
        await db.commit()


@app.get("/health")
async def health():
    return {"ok": True, "region": FLY_REGION}


@app.post("/inference")
async def run_inference(body: dict):
    payer = body.get("payer_wallet")
    prompt = body.get("prompt", "")
    if not payer:
        raise HTTPException(400, "payer_wallet required")
    cost_usdc = max(0.001, len(prompt) * 0.00001)
    escrow_id = await create_escrow(payer, cost_usdc, f"Inference ({FLY_REGION})")
    await log_escrow(escrow_id, payer, cost_usdc, "pending")
    try:
        result = prompt
        await release_escrow(escrow_id)
        await log_escrow(escrow_id, payer, cost_usdc, "released")
        return {"result": result, "cost_usdc": cost_usdc, "escrow_id": escrow_id, "region": FLY_REGION}
    except Exception as e:
        await cancel_escrow(escrow_id)
        await log_escrow(escrow_id, payer, cost_usdc, "cancelled")
        raise HTTPException(500, str(e))
