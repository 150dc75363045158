"""TLS of the server: a certificate and key from files, reloaded when they change."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PEM", "ServerTLS", "TLSError", "context", "expiry", "paths"]

_log = logging.getLogger("eci-profile")


class TLSError(Exception):
    """The files cannot be used. The message is one sentence that names the file."""


@dataclass(frozen=True, slots=True)
class PEM:
    """The contents of the files. ``client_ca`` is empty if clients need no certificate."""

    certificate: bytes
    key: bytes
    client_ca: bytes = b""


class ServerTLS:
    """A certificate and its key from files, after they were validated.

    ``directory`` holds tls.crt and tls.key, as a mounted Secret of the type kubernetes.io/tls.
    ``client_ca`` is a file of CA certificates, or empty. ``pem`` has the contents in use.
    """

    def __init__(self, directory: str, client_ca: str = "") -> None:
        self._certificate = Path(directory, "tls.crt")
        self._key = Path(directory, "tls.key")
        self._client_ca = Path(client_ca) if client_ca else None
        self._problem = ""
        self.pem = self._read()
        self._check(self.pem)

    def changed(self) -> PEM | None:
        """Return the contents of the files if they differ from ``pem`` and are valid, else None.

        Invalid contents are logged once.
        """
        try:
            pem = self._read()
            if pem != self.pem:
                self._check(pem)
        except TLSError as error:
            if str(error) != self._problem:
                _log.warning(
                    "the TLS files can't be used, the old ones stay in force",
                    extra={"reason": str(error)},
                )
            self._problem = str(error)
            return None
        self._problem = ""
        return None if pem == self.pem else pem

    def _read(self) -> PEM:
        return PEM(
            *(
                _content(file, label)
                for file, label in (
                    (self._certificate, "CERTIFICATE"),
                    (self._key, "PRIVATE KEY"),
                    (self._client_ca, "CERTIFICATE"),
                )
                if file is not None
            )
        )

    def _check(self, pem: PEM) -> None:
        try:
            context(pem)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise TLSError(f"{self._key} does not match {self._certificate}") from None
            files = (self._certificate, self._key, self._client_ca)
            names = ", ".join(str(file) for file in files if file)
            raise TLSError(f"{names} can't be used: {error.reason or error}") from None


def context(pem: PEM) -> ssl.SSLContext:
    """Return a server context, TLS 1.2 or later. With CAs, clients may present a certificate.

    Raises ssl.SSLError, or TLSError for an encrypted key.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    with paths(pem) as (certificate, key):
        made.load_cert_chain(certificate, key, _no_password)
    if pem.client_ca:
        made.load_verify_locations(cadata=pem.client_ca.decode("ascii", "replace"))
        made.verify_mode = ssl.CERT_OPTIONAL
    return made


def expiry(pem: PEM) -> float:
    """When the certificate expires, as Unix time; 0 if only OpenSSL can read it."""
    # Imported here: it takes 24 ms and 8 MB, and those who serve no TLS may not have it.
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(pem.certificate).not_valid_after_utc.timestamp()
    except ValueError:
        return 0.0


@contextlib.contextmanager
def paths(pem: PEM) -> Iterator[tuple[str, str]]:
    """Files of the certificate and the key for those who take nothing else.

    They are in memory where the system can do that, since a container may have nowhere to write,
    and never change: the mounted ones may between two looks, to another pair.
    """
    with _file(pem.certificate) as certificate, _file(pem.key) as key:
        yield certificate, key


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("tls"), "wb", buffering=0) as file:
            file.write(content)
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(buffering=0) as file:
            file.write(content)
            yield file.name


def _content(file: Path, label: str) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise TLSError(f"{file} can't be read: {error.strerror}") from None
    if f"{label}-----".encode() not in content:
        raise TLSError(f"{file} has no {label.lower()} in PEM form")
    return content


def _no_password() -> str:
    # Without this, OpenSSL prompts on the terminal.
    raise TLSError("tls.key is encrypted; the server needs an unencrypted key")
