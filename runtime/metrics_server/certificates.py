"""The certificate that the aggregator is shown: a pair of our own under a CA of our own, or one from a directory.

Our CA goes into `caBundle` of the APIServices. A new one is registered beside the old one before the first handshake
with it, and the old one is taken out afterwards; so there is no moment at which the two sides differ.
"""

import asyncio
import base64
import logging
import os
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from runtime.contract import CUSTOM_METRICS_GROUP, CUSTOM_METRICS_VERSIONS
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError
from runtime.kubernetes.shape import Shape

LIFETIME: Final = timedelta(days=90)
OVERLAP_SECONDS: Final = 30.0
"""For how long two CAs are registered before the newer one's pair is used, and after."""
LOOK_SECONDS: Final = 30.0
"""How often the registration is looked at: an apply may have taken it out."""
BACKDATED: Final = timedelta(hours=1)
"""Clocks differ."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key in PEM, and the CA's certificate that proves it; empty where others register it."""

    chain: bytes
    key: bytes
    authority: bytes = b""

    def load(self, context: ssl.SSLContext) -> None:
        """Have the context show it. The key never touches a disk. Raises `ssl.SSLError`."""
        file = os.memfd_create("pair", os.MFD_CLOEXEC)
        try:
            os.write(file, self.chain + b"\n" + self.key)
            context.load_cert_chain(f"/proc/self/fd/{file}")
        finally:
            os.close(file)


def make_pair(names: Sequence[str], lifetime: timedelta = LIFETIME) -> Pair:
    """A new CA, and a pair of its for these DNS names; the CA's key is forgotten."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def certificate(name: str, public: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        constraints = x509.BasicConstraints(ca=ca, path_length=0 if ca else None)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + lifetime)
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    # A name of its own: two CAs of one name in a bundle would be told apart by trial only.
    issuer = f"pf-metrics-server-ca-{x509.random_serial_number() % 2**32:08x}"
    authority = certificate(issuer, ca_key.public_key(), ca=True)
    served = certificate(names[0], key.public_key(), ca=False).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
    )
    served = served.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    return Pair(
        served.sign(ca_key, hashes.SHA256()).public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password),
        authority.sign(ca_key, hashes.SHA256()).public_bytes(pem),
    )


class ServingContext:
    """What the listening socket has: each handshake takes the newest pair and the newest authority of clients."""

    def __init__(self) -> None:
        self.outer = _context()
        self.outer.sni_callback = self._newest  # called for handshakes without a name, too
        self._inner: ssl.SSLContext | None = None
        self._pair: Pair | None = None
        self._clients = ""

    @property
    def ready(self) -> bool:
        """Whether a handshake can succeed."""
        return self._inner is not None

    def use(self, pair: Pair | None = None, clients: str | None = None) -> None:
        """Use another pair, or another authority. Raises `ssl.SSLError`; then everything stays as it was."""
        pair, clients = pair or self._pair, self._clients if clients is None else clients
        if pair is not None and clients:
            inner = _context()
            pair.load(inner)
            inner.load_verify_locations(cadata=clients)
            self._inner = inner
        self._pair, self._clients = pair, clients

    def _newest(self, connection: ssl.SSLObject, _name: str | None, _outer: ssl.SSLContext) -> int | None:
        if self._inner is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._inner
        return None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the file may name an intermediate authority, as in Go
    # A resumed session is not checked anew: it would outlive the authority that was withdrawn.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    ca_bundle: str = ""


class _ApiService(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


_API_SERVICE: Final[Shape[_ApiService]] = Shape.of("APIService", _ApiService)


class OwnCertificate:
    """Makes pairs, registers their CAs and replaces them in time.

    Args:
        names: DNS names by which the aggregator dials.
        lifetime: Of a pair; after two thirds of it the next one comes.
    """

    def __init__(
        self,
        api: KubernetesApi,
        serving: ServingContext,
        names: Sequence[str],
        lifetime: timedelta = LIFETIME,
        overlap_seconds: float = OVERLAP_SECONDS,
    ) -> None:
        self._api = api
        self._serving = serving
        self._names = names
        self._lifetime = lifetime
        self._overlap_seconds = overlap_seconds
        self.registered = False

    async def run(self) -> None:
        """Until cancelled."""
        pair = make_pair(self._names, self._lifetime)
        self._serving.use(pair)
        while True:
            await self._registered(pair.authority, self._lifetime.total_seconds() * 2 / 3)
            following = make_pair(self._names, self._lifetime)
            both = following.authority + pair.authority
            await self._registered(both, self._overlap_seconds)
            self._serving.use(following)
            _log.info("a new certificate is shown; the old one's CA stays registered for a while")
            await self._registered(both, self._overlap_seconds)
            pair = following

    async def _registered(self, bundle: bytes, seconds: float) -> None:
        """Have the bundle registered, and see to it for so long from then on."""
        loop = asyncio.get_running_loop()
        until = float("inf")
        while (now := loop.time()) < until:
            try:
                for version in CUSTOM_METRICS_VERSIONS:
                    await self._register(version, bundle)
                self.registered = True
                until = min(until, now + seconds)
            except (KubernetesError, ApiUnreachable) as error:
                _log.warning("the CA of the certificate cannot be registered now: %s", error)
            await asyncio.sleep(min(LOOK_SECONDS if self.registered else 1.0, max(0.0, until - loop.time())))

    async def _register(self, version: str, bundle: bytes) -> None:
        path = f"/apis/apiregistration.k8s.io/v1/apiservices/{version}.{CUSTOM_METRICS_GROUP}"
        text = base64.b64encode(bundle).decode()
        if (await self._api.get(path, _API_SERVICE)).spec.ca_bundle != text:
            await self._api.merge_patch(path, {"spec": {"caBundle": text}}, _API_SERVICE)


class MountedCertificate:
    """A pair in a directory, `tls.crt` and `tls.key`, that somebody else renews."""

    registered = True

    def __init__(self, serving: ServingContext, directory: Path, look_seconds: float = 2.0) -> None:
        self._serving = serving
        self._directory = directory
        self._look_seconds = look_seconds

    async def run(self) -> None:
        """Until cancelled."""
        known: Pair | None = None
        while True:
            with suppress(OSError):  # in the middle of a swap; what was read last still holds
                pair = Pair((self._directory / "tls.crt").read_bytes(), (self._directory / "tls.key").read_bytes())
                if pair != known:
                    known = pair
                    self._use(pair)
            await asyncio.sleep(self._look_seconds)

    def _use(self, pair: Pair) -> None:
        try:
            self._serving.use(pair)
        except ssl.SSLError as error:
            _log.error("%s: no pair of certificate and key: %s; the one before is shown on", self._directory, error)
