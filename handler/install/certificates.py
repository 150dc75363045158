"""The certificate of the function and its CA. Without a clock and without I/O."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Pair", "ca_problem", "certificate_problem", "new_ca", "new_certificate", "unexpired"]

_CA_DAYS = 3650
_CA_LEFT = 365  # days before its end, a CA is replaced; no certificate lasts longer
_DAYS = 90
_LEFT = 30  # days before its end, a certificate is replaced
_SKEW = dt.timedelta(hours=1)  # by which the clock of a client may be behind
_MOST_CERTIFICATES = 10

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both in PEM."""

    certificate: bytes
    key: bytes


def new_ca(now: dt.datetime) -> Pair:
    """Make a CA with a unique name, so that clients that trust two CAs can distinguish them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"eci-profile CA {now:%Y-%m-%dT%H:%M:%SZ}")
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(name, name, key.public_key(), now, now + dt.timedelta(_CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def new_certificate(ca: Pair, dns_name: str, now: dt.datetime) -> Pair:
    """Make a server certificate for a DNS name, issued by a usable CA, which it never outlives."""
    issuer, signer = _certificate(ca.certificate), _key(ca.key)
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + dt.timedelta(_DAYS), issuer.not_valid_after_utc)
    by_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        _builder(_name(dns_name), issuer.subject, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name)]), critical=False)
        .add_extension(by_issuer, critical=False)
    )
    return Pair(_pem(builder.sign(signer, hashes.SHA256())), _key_pem(key))


def ca_problem(ca: Pair, now: dt.datetime) -> str:
    """Return why a new CA is needed, or an empty text."""
    if not ca.certificate:
        return "there is none"
    try:
        found, key = _certificate(ca.certificate), _key(ca.key)
        constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
        if not constraints.value.ca:
            return "it is not a CA certificate"
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        return f"it can't be used: {error}"
    if found.public_key() != key.public_key():
        return "the key does not match the certificate"
    return _end_problem(found, _CA_LEFT, now)


def certificate_problem(certificate: Pair, ca: Pair, dns_name: str, now: dt.datetime) -> str:
    """Return why a new certificate is needed, or an empty text. ``ca``: a usable one."""
    if not certificate.certificate:
        return "there is none"
    try:
        found, key = _certificate(certificate.certificate), _key(certificate.key)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        if dns_name not in names.value.get_values_for_type(x509.DNSName):
            return f"it is not for {dns_name}"
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        return f"it can't be used: {error}"
    if found.public_key() != key.public_key():
        return "the key does not match the certificate"
    try:
        found.verify_directly_issued_by(_certificate(ca.certificate))
    except (ValueError, TypeError, InvalidSignature):
        return "it was not issued by the current CA"
    return _end_problem(found, _LEFT, now)


def unexpired(bundle: bytes, now: dt.datetime) -> list[bytes]:
    """Return the valid certificates of a bundle, each in PEM; none if it is not a bundle.

    Without duplicates, and at most 10.
    """
    try:
        found = x509.load_pem_x509_certificates(bundle)
    except ValueError:
        return []
    valid = dict.fromkeys(_pem(each) for each in found if each.not_valid_after_utc > now)
    return list(valid)[:_MOST_CERTIFICATES]


def _end_problem(certificate: x509.Certificate, days: int, now: dt.datetime) -> str:
    end = certificate.not_valid_after_utc
    return f"it expires at {end:%Y-%m-%dT%H:%M:%SZ}" if end - now < dt.timedelta(days) else ""


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    end: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def _key(pem: bytes) -> _Key:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("the key is neither an elliptic curve key nor an RSA key")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
