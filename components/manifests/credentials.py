"""The credentials Secret (`purpleflea-creds`) and how pods refer to it."""

from typing import Any

from components.manifests import services
from components.manifests.naming import Manifest, metadata
from components.settings import Settings
from runtime.contract import SECRET_NAME, Env, MountPath

VOLUME = "credentials"
SANDBOX_AGENT = "agent-sandbox-001"
"""Agent id of a sandbox stack that names none."""
SANDBOX_API_KEY = "pf_sandbox_0000000000000000"
"""API key of a sandbox stack that sets none. It opens nothing but that sandbox, so it is no secret."""


def secret_name(settings: Settings) -> str:
    """Name of the Secret, created or existing."""
    return settings.credentials.existing_secret or SECRET_NAME


def agent_wallet(settings: Settings) -> str:
    """The agent id that a created Secret carries."""
    return settings.credentials.agent_wallet or SANDBOX_AGENT


def secret(settings: Settings, api_key: Any) -> Manifest:
    """The Secret, unless `credentials.existingSecret` names one; `api_key` is a string or a Pulumi secret."""
    keys = settings.credentials
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(settings, secret_name(settings)),
        "type": "Opaque",
        "stringData": {
            keys.api_key_key: api_key,
            keys.agent_wallet_key: agent_wallet(settings),
            keys.faucet_url_key: services.url(settings, "faucet"),
            keys.escrow_url_key: services.url(settings, "escrow"),
        },
    }


def env_from_secret(settings: Settings, name: Env) -> Manifest:
    """One environment variable out of the Secret: the API key, the agent id, or one of the two URLs."""
    keys = settings.credentials
    key = {
        Env.API_KEY: keys.api_key_key,
        Env.SANDBOX_API_KEY: keys.api_key_key,
        Env.AGENT_ID: keys.agent_wallet_key,
        Env.FAUCET_URL: keys.faucet_url_key,
        Env.ESCROW_URL: keys.escrow_url_key,
    }[name]
    return {"name": name.value, "valueFrom": {"secretKeyRef": {"name": secret_name(settings), "key": key}}}


def file_env() -> Manifest:
    """Where long-running programs read the key, so that a rotated Secret reaches them without a restart."""
    return {"name": Env.API_KEY_FILE.value, "value": f"{MountPath.CREDENTIALS.value}/api-key"}


def volume(settings: Settings) -> Manifest:
    """The volume with the API key and nothing else of the Secret."""
    items = [{"key": settings.credentials.api_key_key, "path": "api-key", "mode": 0o440}]
    return {"name": VOLUME, "secret": {"secretName": secret_name(settings), "items": items}}


def mount() -> Manifest:
    """The mount of `volume`."""
    return {"name": VOLUME, "mountPath": MountPath.CREDENTIALS.value, "readOnly": True}
