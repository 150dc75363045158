"""The server's side of TLS: a certificate and its key from files, followed as they change."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from pathlib import Path

__all__ = ["ServerTLS", "TLSError"]

_log = logging.getLogger("eci-profile")


class TLSError(Exception):
    """The files can't be used. The message is one sentence that names the file."""


class ServerTLS:
    """A TLS context (1.2 or later) that shows the certificate which is in the files now.

    ``directory`` holds tls.crt and tls.key, as a mounted Secret of the type kubernetes.io/tls.
    ``client_ca`` is a file of CA certificates, or empty. With it, a certificate that a client
    sends has to be of these CAs; whether a client may do without one is for the server to say.
    """

    def __init__(self, directory: str, client_ca: str = "") -> None:
        self._certificate = Path(directory, "tls.crt")
        self._key = Path(directory, "tls.key")
        self._client_ca = Path(client_ca) if client_ca else None
        self._files = self._read()
        self._trouble = ""
        self.context = self._current = self._load(self._files)
        # Each handshake goes on with the context of the moment: so a change is taken over whole
        # or not at all, and CAs that are gone don't count any more. Loading it into a context
        # in use does neither.
        self.context.sni_callback = self._use_current

    def follow(self) -> None:
        """Take over what has changed. What can't be used is logged, and the old stays in force."""
        try:
            files = self._read()
            if files != self._files:
                self._current = self._load(files)
                self._files = files
                _log.info("the TLS files changed and are in force")
        except TLSError as error:
            if str(error) != self._trouble:
                _log.warning(
                    "the TLS files can't be used, the old ones stay in force",
                    extra={"reason": str(error)},
                )
            self._trouble = str(error)
        else:
            self._trouble = ""

    def _use_current(self, tls: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        tls.context = self._current

    def _read(self) -> Mapping[Path, bytes]:
        content = {}
        for file in (self._certificate, self._key, self._client_ca):
            if file is not None:
                try:
                    content[file] = file.read_bytes()
                except OSError as error:
                    raise TLSError(f"{file} can't be read: {error.strerror}") from None
        return content

    def _load(self, files: Mapping[Path, bytes]) -> ssl.SSLContext:
        for file, content in files.items():
            label = b"PRIVATE KEY" if file == self._key else b"CERTIFICATE"
            if label + b"-----" not in content:
                raise TLSError(f"{file} has no {label.decode().lower()} in PEM form")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._certificate, self._key, _no_password)
            if self._client_ca:
                context.load_verify_locations(self._client_ca)
                context.verify_mode = ssl.CERT_OPTIONAL
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise TLSError(f"{self._key} is not the key of {self._certificate}") from None
            names = ", ".join(map(str, files))
            raise TLSError(f"of {names}, one can't be used: {error.reason or error}") from None
        except OSError as error:  # gone since it was read
            raise TLSError(f"the TLS files can't be read: {error.strerror}") from None
        return context


def _no_password() -> str:
    # Without this, OpenSSL asks for it on the terminal.
    raise TLSError("tls.key is encrypted; a server that starts by itself needs it in the clear")
