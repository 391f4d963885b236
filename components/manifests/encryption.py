"""Encryption of Secrets at rest: a file for the API server's own start, not an object of the cluster."""

from dataclasses import dataclass
from typing import Any, Final

import yaml

from components.manifests.naming import Manifest
from components.manifests.templating import render
from components.settings import Settings
from runtime.contract import SECRET_NAME

CONFIGURATION: Final = "encryption/encryption-configuration.yaml"
INSTRUCTIONS: Final = "encryption/ENCRYPTION.md"
PURPOSES: Final = {
    CONFIGURATION: "Encryption of Secrets in etcd: for kube-apiserver's --encryption-provider-config.",
    INSTRUCTIONS: "How to switch it on, verify it and encrypt what is there already; what EKS, GKE, AKS need instead.",
}
"""What each file is for, by its path in the stack's folder."""


@dataclass(frozen=True, slots=True)
class KeyService:
    """How one cloud keeps the key: with a plug-in beside an API server of your own, or by a setting of the cloud."""

    title: str
    plugin: str
    """The KMS v2 plug-in that listens on the socket, and the arguments that name the key."""
    managed: str = ""
    """The managed cluster that takes a setting instead of the file; empty where there is none."""
    enable: str = ""
    """Its command."""
    verify: str = ""
    """The command that shows the setting, and what to look for."""


KEY_SERVICES: Final = {
    "aws": KeyService(
        "AWS KMS",
        "aws-encryption-provider --key={key} --region=REGION --listen={socket}",
        "EKS",
        "aws eks associate-encryption-config --cluster-name CLUSTER --encryption-config "
        '\'[{{"resources":["secrets"],"provider":{{"keyArn":"{key}"}}}}]\'',
        "aws eks describe-cluster --name CLUSTER --query cluster.encryptionConfig",
    ),
    "gcp": KeyService(
        "Google Cloud KMS",
        "k8s-cloudkms-plugin --kms=v2 --key-uri={key} --path-to-unix-socket={socket}",
        "GKE",
        "gcloud container clusters update CLUSTER --location LOCATION --database-encryption-key {key}",
        "gcloud container clusters describe CLUSTER --location LOCATION --format 'value(databaseEncryption)'",
    ),
    "azure": KeyService(
        "Azure Key Vault",
        "kubernetes-kms --listen-addr={endpoint} --keyvault-name=VAULT --key-name=KEY --key-version=VERSION",
        "AKS",
        "az aks update --name CLUSTER --resource-group GROUP --enable-azure-keyvault-kms "
        "--azure-keyvault-kms-key-id {key}",
        "az aks show --name CLUSTER --resource-group GROUP --query securityProfile.azureKeyVaultKms",
    ),
    "kms": KeyService("a KMS v2 plug-in of your own", "any program that serves the KMS v2 API on {endpoint}"),
}


def encryption_files(settings: Settings) -> dict[str, str]:
    """Path → content of everything under `encryption/` in a stack's folder; empty where no provider is set."""
    if not settings.enabled or settings.encryption.provider == "none":
        return {}
    header = "# For kube-apiserver's --encryption-provider-config; ENCRYPTION.md says how, and how to verify it.\n"
    return {
        CONFIGURATION: header + yaml.safe_dump(encryption_configuration(settings), sort_keys=False),
        INSTRUCTIONS: instructions(settings),
    }


def provider_name(settings: Settings) -> str:
    """Stands before every value in etcd, so another name means that the old values must be encrypted again."""
    return f"purpleflea-{settings.encryption.provider}"


def encryption_configuration(settings: Settings) -> Manifest:
    """Writes go to the first provider; the last one only reads what was written before encryption was on."""
    encryption = settings.encryption
    kms: dict[str, Any] = {
        "apiVersion": "v2",
        "name": provider_name(settings),
        "endpoint": encryption.endpoint,
        "timeout": f"{encryption.timeout_seconds}s",
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"kms": kms}, {"identity": {}}]}],
    }


def instructions(settings: Settings) -> str:
    """`ENCRYPTION.md`: how to switch it on, verify it and encrypt what is there already, with this stack's names."""
    encryption = settings.encryption
    service = KEY_SERVICES[encryption.provider]
    words = {
        "key": encryption.key_id or "KEY",
        "endpoint": encryption.endpoint,
        "socket": encryption.endpoint.removeprefix("unix://"),
    }
    return render(
        "encryption/ENCRYPTION.md",
        title=service.title,
        managed=service.managed,
        plugin=service.plugin.format(**words),
        enable=service.enable.format(**words),
        verify=service.verify.format(**words),
        configuration=CONFIGURATION.rpartition("/")[2],
        prefix=f"k8s:enc:kms:v2:{provider_name(settings)}:",
        namespace=settings.namespace,
        secret=settings.credentials.existing_secret or SECRET_NAME,
    )
