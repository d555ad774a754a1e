"""The page of installation is true: a zone is set up, put behind TLS, backed up and restored as it says, and shows what it shows."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness.proxy import Link
from tests.acceptance import guide_page
from tests.acceptance.machines import Machines

PAGE: Final = guide_page.GUIDES / "install.md"


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """A machine with nothing on it but a proxy, in the place of nginx, with a certificate of an authority of its own."""
    made = Machines(tmp_path, "athens", logged_in=False)
    proxy = Link(made["athens"].port, tls=_tls(tmp_path / "athens" / "etc" / "ssl" / "athens"))
    made.written = {"https://athens.example.org/": f"https://{proxy.address}/"}
    try:
        yield made
    finally:
        made.stop()
        proxy.close()


def _tls(folder: Path) -> ssl.SSLContext:
    """What a proxy needs to speak TLS; clients must trust ``ca.pem`` in ``folder``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of one")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True)
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "privkey.pem")
    return context


def test_the_page_shows_what_its_commands_show(machines: Machines) -> None:
    seen, shown = guide_page.follow(PAGE, machines.do)
    assert seen == shown
