"""The certificates of one cluster: made new at each start (elliptic curves: milliseconds), gone with its directory."""

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Certificate:
    """A key and its certificate, on disk as `<name>.key` and `<name>.crt`."""

    key_file: Path
    file: Path
    key: ec.EllipticCurvePrivateKey
    x509: x509.Certificate


class Authority:
    """A certificate authority whose files live in `directory`."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self.root = _write(directory, name, *_self_signed(name))

    @property
    def file(self) -> Path:
        """The authority's own certificate."""
        return self.root.file

    def issue(self, name: str, common_name: str, organization: str = "", hosts: Sequence[str] = ()) -> Certificate:
        """Sign a certificate: for a server when `hosts` (names and addresses) are given, always for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])
        builder = (
            _builder(_name(common_name, organization), self.root.x509.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        return _write(self._directory, name, key, builder.sign(self.root.key, hashes.SHA256()))


def kubeconfig(url: str, authority: Path, certificate: Certificate) -> str:
    """The text of a kubeconfig (JSON, which is YAML) that signs in to `url` with a client certificate."""
    user = {
        "client-certificate-data": _encoded(certificate.file),
        "client-key-data": _encoded(certificate.key_file),
    }
    return kubeconfig_text({"server": url, "certificate-authority-data": _encoded(authority)}, user)


def kubeconfig_text(cluster: dict[str, str], user: dict[str, str], namespace: str = "default") -> str:
    """The text of a kubeconfig with one cluster, one user and one context."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user", "namespace": namespace}}],
        "current-context": "test",
    }
    return json.dumps(document, indent=1)


def _encoded(file: Path) -> str:
    """A file's content the way a kubeconfig carries it."""
    return base64.b64encode(file.read_bytes()).decode()


def signing_key(directory: Path, name: str) -> tuple[Path, Path]:
    """A key pair for ServiceAccount tokens: private and public file."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = directory / f"{name}.key", directory / f"{name}.pub"
    _write_key(private, key)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return private, public


def _self_signed(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(_name(name), _name(name), key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    return key, builder.sign(key, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A day back: a clock that a test shifts must not make the cluster's own certificates invalid.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFETIME)
    )


def _name(common_name: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(directory: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Certificate:
    key_file, file = directory / f"{name}.key", directory / f"{name}.crt"
    _write_key(key_file, key)
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Certificate(key_file, file, key, certificate)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.touch(mode=0o600)
    file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
