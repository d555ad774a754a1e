"""Keys, certificates and TLS: what is on disk, and whom a connection lets through."""

from __future__ import annotations

import datetime
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from koinon.federation.keys import (
    Authority,
    KeyFileError,
    KeyStore,
    certificate_hash,
    client_context,
    due_for_renewal,
    is_signed_by,
    make_recovery_key,
    raw_public_key,
    read_certificate,
    read_private_key,
    reload_certificate,
    server_context,
    server_name,
)

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
FID = "0123456789abcdef0123456789abcdef"


def real_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def store_with_certificate(tmp_path: Path, authority: Authority, zone_id: int = 3, now: datetime.datetime | None = None) -> KeyStore:
    store = KeyStore(tmp_path / f"zone{zone_id}")
    store.save_ca(authority.pem)
    store.save_certificate(authority.certify(zone_id, FID, store.first_zone_key().public_key(), now or real_now()))
    return store


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[str | None, bytes]:
    """Connect once over loopback: TLS version, and the certificate that the client saw. Raises what the client gets."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            connection, _ = listening.accept()
            try:
                with server.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(1)
            except OSError:
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            with (
                socket.create_connection(listening.getsockname(), timeout=60) as raw,
                client.wrap_socket(raw, server_hostname=name) as tls,
            ):
                return tls.version(), tls.getpeercert(binary_form=True) or b""
        finally:
            thread.join()


def test_key_files_are_private_and_the_key_stays_the_same(tmp_path: Path) -> None:
    authority = Authority.make(FID, NOW)
    store = store_with_certificate(tmp_path, authority)
    store.save_authority(authority)
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in store.directory.iterdir()}
    assert files == dict.fromkeys(("ca.key", "ca.pem", "zone.key", "zone.pem"), 0o600)
    again = KeyStore(tmp_path / "zone3")
    assert raw_public_key(again.zone_key().public_key()) == raw_public_key(store.zone_key().public_key())
    assert again.authority().public_key == authority.public_key
    store.remove()
    assert list(store.directory.iterdir()) == []


def test_a_certificate_names_the_zone_and_nothing_else() -> None:
    authority = Authority.make(FID, NOW)
    certificate = authority.certify(7, FID, Ed25519PrivateKey.generate().public_key(), NOW)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName(f"zone-7.{FID}")]
    assert list(certificate.subject) == []
    assert certificate.not_valid_after_utc - NOW == datetime.timedelta(days=90)
    assert is_signed_by(certificate, authority.public_key)
    assert not is_signed_by(certificate, Authority.make(FID, NOW).public_key)


def test_a_certificate_is_due_in_its_last_thirty_days() -> None:
    certificate = Authority.make(FID, NOW).certify(7, FID, Ed25519PrivateKey.generate().public_key(), NOW)
    assert not due_for_renewal(certificate, NOW + datetime.timedelta(days=59, hours=23))
    assert due_for_renewal(certificate, NOW + datetime.timedelta(days=60))


def test_tls_is_1_3_and_shows_the_zone_that_was_meant(tmp_path: Path) -> None:
    authority = Authority.make(FID, real_now())
    store = store_with_certificate(tmp_path, authority)
    version, seen = handshake(server_context(store), client_context(authority.pem), server_name(3, FID))
    assert version == "TLSv1.3"
    assert certificate_hash(x509.load_der_x509_certificate(seen)) == certificate_hash(store.certificate())


@pytest.mark.parametrize(("zone_id", "federation_id"), [(4, FID), (3, "f" * 32)], ids=["another zone", "another federation"])
def test_tls_refuses_a_zone_that_was_not_meant(tmp_path: Path, zone_id: int, federation_id: str) -> None:
    authority = Authority.make(FID, real_now())
    server = server_context(store_with_certificate(tmp_path, authority))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_context(authority.pem), server_name(zone_id, federation_id))


def test_tls_refuses_a_certificate_of_another_ca(tmp_path: Path) -> None:
    server = server_context(store_with_certificate(tmp_path, Authority.make(FID, real_now())))
    other = Authority.make(FID, real_now())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_context(other.pem), server_name(3, FID))


def test_tls_refuses_an_expired_certificate(tmp_path: Path) -> None:
    authority = Authority.make(FID, NOW)
    server = server_context(store_with_certificate(tmp_path, authority, now=real_now() - datetime.timedelta(days=91)))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_context(authority.pem), server_name(3, FID))


def test_tls_refuses_older_versions(tmp_path: Path) -> None:
    authority = Authority.make(FID, real_now())
    old = client_context(authority.pem)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(server_context(store_with_certificate(tmp_path, authority)), old, server_name(3, FID))


def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    authority = Authority.make(FID, real_now())
    store = store_with_certificate(tmp_path, authority)
    server, client = server_context(store), client_context(authority.pem)
    _, before = handshake(server, client, server_name(3, FID))
    store.save_certificate(authority.certify(3, FID, store.zone_key().public_key(), real_now()))
    reload_certificate(server, store)
    _, after = handshake(server, client, server_name(3, FID))
    assert after != before


def test_a_recovery_key_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "recovery.key"
    key = make_recovery_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert raw_public_key(read_private_key(path).public_key()) == raw_public_key(key.public_key())
    with pytest.raises(KeyFileError, match=r"recovery\.key"):
        make_recovery_key(path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    store = KeyStore(tmp_path)
    store.save_ca(content)
    with pytest.raises(KeyFileError, match=r"ca\.pem"):
        store.ca_certificate()
    with pytest.raises(KeyFileError, match=r"ca\.pem"):
        read_private_key(store.ca_file)
    with pytest.raises(ValueError, match="certificate"):
        read_certificate(content)
    with pytest.raises(KeyFileError):
        client_context(content)
