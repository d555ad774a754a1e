"""The keys and certificates of one zone: how they are made, kept on disk and put into TLS.

Path:     membership -> Authority.certify() -> KeyStore -> server_context() / client_context() -> every connection between zones
Holds:    a private key is on disk, mode 600, before anyone hears its public half; a certificate names one zone and nothing else.
Not here: who is trusted (trust.py); how a request is signed (assertion.py); which CA counts (reign.py).
"""

from __future__ import annotations

import datetime
import hashlib
import os
import secrets
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from koinon.errors import UnavailableError

CERTIFICATE_LIFETIME: Final = datetime.timedelta(days=90)
RENEW_BEFORE_END: Final = datetime.timedelta(days=30)
#: A zone whose clock is behind the master's must accept a certificate that was made just now.
_CLOCK_ALLOWANCE: Final = datetime.timedelta(days=1)
#: RFC 5280, 4.1.2.5: no well-defined end. How long a CA counts is said by the reign record, not by a date.
_NO_END: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


class KeyFileError(UnavailableError):
    """A key or certificate file is missing, unreadable or not what it should be; the text names the file."""


def server_name(zone_id: int, federation_id: str) -> str:
    """The only name in a zone's certificate. Host names change and can be taken over; this one is the federation's own."""
    return f"zone-{zone_id}.{federation_id}"


def raw_public_key(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def certificate_hash(certificate: x509.Certificate) -> bytes:
    """BLAKE2b-256 over the certificate's DER bytes: what an invitation carries to name the CA."""
    return hashlib.blake2b(certificate.public_bytes(Encoding.DER), digest_size=32).digest()


def read_certificate(pem: bytes) -> x509.Certificate:
    """Read one certificate that holds an Ed25519 key.

    Raises:
        ValueError: it is not PEM, not a certificate, or holds another kind of key.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except Exception as error:  # the library raises many kinds for malformed input, and documents them incompletely
        raise ValueError("this is not a PEM certificate") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the certificate's key is not Ed25519")
    return certificate


def certified_key(certificate: x509.Certificate) -> bytes:
    """The raw public key in a certificate that ``read_certificate`` accepted."""
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the certificate's key is not Ed25519")
    return raw_public_key(key)


def is_signed_by(certificate: x509.Certificate, ca_public_key: bytes) -> bool:
    """True if the CA with this raw public key signed the certificate (a CA's own certificate included)."""
    try:
        Ed25519PublicKey.from_public_bytes(ca_public_key).verify(certificate.signature, certificate.tbs_certificate_bytes)
    except (InvalidSignature, ValueError):
        return False
    return True


def due_for_renewal(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    """True in the last 30 of the 90 days: a month of daily attempts before anything breaks."""
    return now >= certificate.not_valid_after_utc - RENEW_BEFORE_END


class Authority:
    """The federation's CA. Its private key is on the master zone only and never travels: a new reign makes a new CA."""

    def __init__(self, key: Ed25519PrivateKey, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate

    @property
    def public_key(self) -> bytes:
        return raw_public_key(self.key.public_key())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @classmethod
    def make(cls, federation_id: str, now: datetime.datetime) -> Authority:
        """Make a CA with a fresh key and a self-signed certificate."""
        key = Ed25519PrivateKey.generate()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Koinon federation {federation_id}")])
        subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_ALLOWANCE)
            .not_valid_after(_NO_END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(subject_key, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key), critical=False)
            .sign(key, None)
        )
        return cls(key, certificate)

    def certify(self, zone_id: int, federation_id: str, public_key: Ed25519PublicKey, now: datetime.datetime) -> x509.Certificate:
        """Sign a certificate for one zone, good for 90 days; its only name is ``zone-N.<federation id>``."""
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_ALLOWANCE)
            .not_valid_after(now + CERTIFICATE_LIFETIME)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(server_name(zone_id, federation_id))]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, None)
        )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def write_private(path: Path, content: bytes) -> None:
    """Put a file of mode 600 in place whole: a crash leaves the old one or the new one, durable, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _key_pem(key: Ed25519PrivateKey) -> bytes:
    # no pass phrase: a daemon that starts unattended would have to keep it beside the key
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 private key from a PEM file.

    Raises:
        KeyFileError: the file is missing, unreadable or holds something else.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # the library raises many kinds for malformed input
        raise KeyFileError(f"{path}: this is not an unencrypted private key in PEM form") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: the key is not Ed25519")
    return key


def make_recovery_key(path: Path) -> Ed25519PrivateKey:
    """Write a new recovery key to a file that the operator takes offline.

    Whoever holds the file can make any zone the master, so it belongs on no zone's disk.

    Raises:
        KeyFileError: there is a file of this name already; a recovery key is never overwritten.
    """
    if path.exists():
        raise KeyFileError(f"{path}: there is a file of this name; move it away first")
    key = Ed25519PrivateKey.generate()
    try:
        write_private(path, _key_pem(key))
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror or error}") from error
    return key


class KeyStore:
    """The directory ``federation`` (mode 700) in a zone's state directory: ca.key (master only), ca.pem, zone.key, zone.pem."""

    def __init__(self, state_dir: Path) -> None:
        self.directory = state_dir / "federation"
        self.ca_key_file = self.directory / "ca.key"
        self.ca_file = self.directory / "ca.pem"
        self.zone_key_file = self.directory / "zone.key"
        self.certificate_file = self.directory / "zone.pem"

    def zone_key(self) -> Ed25519PrivateKey:
        """This zone's key. Raises KeyFileError, also if there is none: a zone in a federation has one, and another would be of no use."""
        return read_private_key(self.zone_key_file)

    def first_zone_key(self) -> Ed25519PrivateKey:
        """The key to found or join with: made, and durable on disk, if there is none, so that a join can be repeated with it."""
        if self.zone_key_file.exists():
            return self.zone_key()
        key = Ed25519PrivateKey.generate()
        self._write(self.zone_key_file, _key_pem(key))
        return key

    def authority(self) -> Authority:
        """The CA with its key. Raises KeyFileError in a zone that is not the master."""
        return Authority(read_private_key(self.ca_key_file), self.ca_certificate())

    def save_authority(self, authority: Authority) -> None:
        self._write(self.ca_key_file, _key_pem(authority.key))
        self._write(self.ca_file, authority.pem)

    def ca_pem(self) -> bytes:
        """The CA's certificate as a file. Raises KeyFileError."""
        return self._read(self.ca_file)

    def ca_certificate(self) -> x509.Certificate:
        """The CA's certificate. Raises KeyFileError."""
        return self._read_certificate(self.ca_file)

    def certificate(self) -> x509.Certificate:
        """This zone's certificate. Raises KeyFileError."""
        return self._read_certificate(self.certificate_file)

    def save_ca(self, pem: bytes) -> None:
        self._write(self.ca_file, pem)

    def save_certificate(self, certificate: x509.Certificate) -> None:
        self._write(self.certificate_file, certificate.public_bytes(Encoding.PEM))

    def stamp(self) -> tuple[int, ...]:
        """Changes when the keys on disk are replaced."""
        return _stamp(self.zone_key_file), _stamp(self.ca_file)

    def certificate_stamp(self) -> int:
        """Changes when the certificate on disk is replaced."""
        return _stamp(self.certificate_file)

    def remove(self) -> None:
        """Forget the federation: keys and certificates are gone for good. Raises KeyFileError."""
        try:
            for file in (self.ca_key_file, self.zone_key_file, self.certificate_file, self.ca_file):
                file.unlink(missing_ok=True)
            if self.directory.exists():
                _sync_directory(self.directory)
        except OSError as error:
            raise KeyFileError(
                f"{error.filename or self.directory}: {error.strerror or error}; the keys are of no use: remove it"
            ) from error

    def _write(self, path: Path, content: bytes) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.chmod(0o700)
            write_private(path, content)
        except OSError as error:
            raise KeyFileError(f"{path}: {error.strerror or error}") from error

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise KeyFileError(f"{path}: {error.strerror or error}") from error

    def _read_certificate(self, path: Path) -> x509.Certificate:
        try:
            return read_certificate(self._read(path))
        except ValueError as error:
            raise KeyFileError(f"{path}: {error}") from error


def _stamp(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def server_context(store: KeyStore) -> ssl.SSLContext:
    """TLS for the federation listener: version 1.3 only, this zone's certificate, no client certificates (callers sign requests).

    Raises:
        KeyFileError: key or certificate can't be read or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    reload_certificate(context, store)
    return context


def reload_certificate(context: ssl.SSLContext, store: KeyStore) -> None:
    """Use the certificate now on disk for every handshake from here on; connections that are open stay open."""
    try:
        context.load_cert_chain(store.certificate_file, store.zone_key_file)
    except (OSError, ssl.SSLError) as error:
        raise KeyFileError(f"{store.certificate_file}: {error.strerror or error}") from error


def client_context(ca_pem: bytes) -> ssl.SSLContext:
    """TLS towards another zone: version 1.3 only, the federation's CA and no other, the name in the certificate checked.

    The connection must give ``server_name(zone, federation)`` as the name to check.

    Raises:
        KeyFileError: ``ca_pem`` is not a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise KeyFileError("the federation's CA is not a PEM certificate") from error
    return context


def unverified_context() -> ssl.SSLContext:
    """TLS that trusts nobody yet: only for fetching a CA whose hash is known from an invitation."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
