"""The credentials Secret (`purpleflea-creds`) and how pods refer to it.

What the settings say is written into the pods: the Secret's copy of an address or an id is the fallback, and a Secret
that holds the key alone will do.
"""

from typing import Any

from components.manifests import services
from components.manifests.naming import Manifest, content_hash, metadata
from components.settings import Settings
from runtime.contract import CONTENT_HASH_ANNOTATION, Env, MountPath

VOLUME = "credentials"
SANDBOX_AGENT = "agent-sandbox-001"
"""Agent id of a sandbox stack that names none."""
SANDBOX_API_KEY = "pf_sandbox_0000000000000000"
"""API key of a sandbox stack that sets none. It opens nothing but that sandbox, so it is no secret."""


def agent_wallet(settings: Settings) -> str:
    """The agent id that a created Secret carries."""
    return settings.credentials.agent_wallet or SANDBOX_AGENT


def secret(settings: Settings, api_key: Any) -> Manifest:
    """The Secret, unless `credentials.existingSecret` names one; `api_key` is a string or a Pulumi secret."""
    keys = settings.credentials
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(settings, settings.payer_secret),
        "type": "Opaque",
        "stringData": {
            keys.api_key_key: api_key,
            keys.agent_wallet_key: agent_wallet(settings),
            keys.faucet_url_key: services.url(settings, "faucet"),
            keys.escrow_url_key: services.url(settings, "escrow"),
        },
    }


def public_keys(settings: Settings) -> tuple[str, ...]:
    """Keys of the Secret whose values are no secrets; every other one counts as the API key."""
    keys = settings.credentials
    return keys.agent_wallet_key, keys.faucet_url_key, keys.escrow_url_key


def needed_keys(settings: Settings) -> list[str]:
    """Keys that an existing Secret must have: the API key, and what the settings leave to it."""
    keys = settings.credentials
    asked = {
        keys.api_key_key: True,
        keys.agent_wallet_key: not keys.agent_wallet,
        keys.faucet_url_key: not services.is_given(settings, "faucet"),
        keys.escrow_url_key: not services.is_given(settings, "escrow"),
    }
    return [key for key, needed in asked.items() if needed]


def read_at_start(settings: Settings) -> dict[str, str] | None:
    """Annotation of long-running pods that changes with what they read from a created Secret at their start only."""
    if settings.credentials.existing_secret:
        return None
    return {CONTENT_HASH_ANNOTATION: content_hash(secret(settings, "")["stringData"])}


def key_env(settings: Settings, name: Env = Env.API_KEY, secret: str = "") -> Manifest:
    """The API key as an environment variable, of the payer or out of another Secret of the same shape."""
    return _from_secret(name, settings.credentials.api_key_key, secret or settings.payer_secret)


def identity_env(settings: Settings, agent_id: str = "", secret: str = "") -> Manifest:
    """`AGENT_ID`: the given one, else the payer's as the settings have it, else the one in the Secret."""
    keys = settings.credentials
    # A created Secret carries the settings' id, and pods take it from there, as in the guide.
    told = agent_id or (keys.agent_wallet if keys.existing_secret and not secret else "")
    if told:
        return {"name": Env.AGENT_ID.value, "value": told}
    return _from_secret(Env.AGENT_ID, keys.agent_wallet_key, secret or settings.payer_secret)


def wallet_env(settings: Settings) -> Manifest:
    """`PF_WORKER_WALLET`: the workers' payee, else the wallet in the Secret."""
    if settings.worker.payee:
        return {"name": Env.WORKER_WALLET.value, "value": settings.worker.payee}
    return {**identity_env(settings), "name": Env.WORKER_WALLET.value}


def url_env(settings: Settings, service: str, secret: str = "") -> Manifest:
    """URL of `faucet` or `escrow`: the settings' or the sandbox's, else the one in the Secret."""
    name = services.SERVICES[service]
    if services.is_given(settings, service):
        return {"name": name.value, "value": services.url(settings, service)}
    keys = {"faucet": settings.credentials.faucet_url_key, "escrow": settings.credentials.escrow_url_key}
    return _from_secret(name, keys[service], secret or settings.payer_secret)


def file_env() -> Manifest:
    """Where long-running programs read the key, so that a rotated Secret reaches them without a restart."""
    return {"name": Env.API_KEY_FILE.value, "value": f"{MountPath.CREDENTIALS.value}/api-key"}


def volume(settings: Settings, secret: str = "") -> Manifest:
    """The volume with the API key and nothing else of the Secret."""
    items = [{"key": settings.credentials.api_key_key, "path": "api-key", "mode": 0o440}]
    return {"name": VOLUME, "secret": {"secretName": secret or settings.payer_secret, "items": items}}


def mount() -> Manifest:
    """The mount of `volume`."""
    return {"name": VOLUME, "mountPath": MountPath.CREDENTIALS.value, "readOnly": True}


def _from_secret(name: Env, key: str, secret: str) -> Manifest:
    return {"name": name.value, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
