"""A TLS Secret as mounted into a pod."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme
from cryptography import x509


class Secret:
    """A mounted TLS Secret. Like kubelet, it writes a new folder and swaps one symlink to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = trustme.CA()
        self._versions = 0
        directory.mkdir()
        self.serial = self.renew()
        for name in ("tls.crt", "tls.key"):
            (directory / name).symlink_to(f"..data/{name}")

    def renew(self, *, matching: bool = True) -> int:
        """Issue a new certificate and return its serial number."""
        certificate = self.ca.issue_cert("localhost", "127.0.0.1")
        key = certificate if matching else self.ca.issue_cert("localhost")
        chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
        self.put(chain, key.private_key_pem.bytes())
        return x509.load_pem_x509_certificate(chain).serial_number

    def put(self, chain: bytes, key: bytes) -> None:
        """Replace the certificate and key."""
        self._versions += 1
        data = self.directory / f"..version-{self._versions}"
        data.mkdir()
        (data / "tls.crt").write_bytes(chain)
        (data / "tls.key").write_bytes(key)
        link = self.directory / "..data_tmp"
        link.symlink_to(data.name)
        link.replace(self.directory / "..data")

    def write_client_ca(self, ca: trustme.CA) -> Path:
        """Write the CA that client certificates must be issued by; return its path."""
        file = self.directory / "client-ca.crt"
        ca.cert_pem.write_to_path(str(file))
        return file

    def client(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """Return the TLS context of a client that trusts the certificate's issuer."""
        # Unlike create_default_context, it does not load the system's CAs, which takes 50 ms.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        if certificate:
            certificate.configure_cert(context)
        return context
