"""Identities: the server's certificate, and a key for every client.

``rolora keys DIR`` writes ``DIR/server`` and ``DIR/client-0``, ``DIR/client-1``, ...; each of these folders goes to its
machine and to no other. A client trusts the one authority whose certificate it was given; that authority's own key signs the
server's certificate and is then forgotten. The server knows the clients' public keys and no private one.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rolora import records
from rolora.errors import InputError

AUTHORITY, CERTIFICATE, KEY = "authority.pem", "certificate.pem", "key.pem"
CLIENTS, CLIENT = "clients.json", "client.json"

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ServerIdentity:
    """A server's folder: the files of its certificate and key, and client -> public key (PEM)."""

    certificate: Path
    key: Path
    clients: Mapping[int, bytes]


@dataclass(frozen=True)
class ClientIdentity:
    """A client's folder: its number, its private key, and the authority (PEM) by which it knows its server.

    Without TLS (``authority`` is None) the key is one that was made for this process.
    """

    client: int
    key: ec.EllipticCurvePrivateKey
    authority: bytes | None


def make(folder: Path, clients: int, hosts: Sequence[str] = (), days: int = 365) -> list[Path]:
    """Write the folders of a server and its clients.

    Args:
        folder: must not hold any of them yet.
        clients: number of clients.
        hosts: names and addresses by which clients reach the server, beside this machine's own loopback.
        days: how long the certificate is valid.

    Returns:
        The folders, the server's first.

    Raises:
        InputError: one of them exists.
    """
    server, nodes = folder / "server", [folder / f"client-{client}" for client in range(clients)]
    for place in (server, *nodes):
        if place.exists():
            raise InputError(f"{place}: exists, expected a folder without keys; a key is never overwritten")
    authority, certificate, key = _certificates([*dict.fromkeys([*LOOPBACK, *hosts])], days)
    keys = [ec.generate_private_key(ec.SECP384R1()) for _ in nodes]
    for place in (folder, server, *nodes):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_private(server / KEY, _pem(key))
    (server / CERTIFICATE).write_bytes(certificate)
    public = {str(client): public_pem(private.public_key()).decode() for client, private in enumerate(keys)}
    records.write_json(server / CLIENTS, public)
    for client, (place, private) in enumerate(zip(nodes, keys, strict=True)):
        _write_private(place / KEY, _pem(private))
        (place / AUTHORITY).write_bytes(authority)
        records.write_json(place / CLIENT, {"client": client})
    return [server, *nodes]


def server_identity(folder: Path) -> ServerIdentity:
    """Read a server's folder; raise InputError if a file is missing or invalid."""
    for name in (CERTIFICATE, KEY, CLIENTS):
        _require(folder / name, "server")
    listed = records.read_json(folder / CLIENTS)
    try:
        clients = {int(client): public_pem(_public(pem.encode())) for client, pem in listed.items()}
        x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        _private((folder / KEY).read_bytes())
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{folder}: expected a server's folder as `rolora keys` writes it; {error}") from None
    if len(set(clients.values())) < len(clients):
        raise InputError(f"{folder / CLIENTS}: two clients have the same public key, expected a key for each")
    return ServerIdentity(folder / CERTIFICATE, folder / KEY, clients)


def client_identity(folder: Path) -> ClientIdentity:
    """Read a client's folder; raise InputError if a file is missing or invalid."""
    for name in (AUTHORITY, KEY, CLIENT):
        _require(folder / name, "client")
    try:
        authority = (folder / AUTHORITY).read_bytes()
        x509.load_pem_x509_certificate(authority)
        number = records.read_json(folder / CLIENT)["client"]
        return ClientIdentity(int(number), _private((folder / KEY).read_bytes()), authority)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: expected a client's folder as `rolora keys` writes it; {error}") from None


def throwaway(client: int) -> ClientIdentity:
    """Return an identity for a connection without TLS, where nobody is authenticated."""
    return ClientIdentity(client, ec.generate_private_key(ec.SECP384R1()), None)


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as Flower's nodes send it."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _require(path: Path, whose: str) -> None:
    if not path.is_file():
        raise InputError(f"--keys: {path} is missing, expected a {whose}'s folder as `rolora keys` writes it")


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"the private key is of the kind {type(key).__name__}, expected an elliptic curve's")
    return key


def _public(pem: bytes) -> ec.EllipticCurvePublicKey:
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError(f"a public key is of the kind {type(key).__name__}, expected an elliptic curve's")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(content)


def _certificates(hosts: Sequence[str], days: int) -> tuple[bytes, bytes, ec.EllipticCurvePrivateKey]:
    """Return the authority's certificate, the server's, and the server's key."""
    signing, key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rolora federation")])
    authority = (
        _certificate(name, signing.public_key(), name, signing, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(signing, hashes.SHA256())
    )
    certificate = (
        _certificate(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rolora server")]), key.public_key(), name, signing, days
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_place(host) for host in hosts]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return authority.public_bytes(pem), certificate.public_bytes(pem), key


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signing: ec.EllipticCurvePrivateKey,
    days: int,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # a client's clock may be behind
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _place(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
