"""When a certificate and its CA are replaced, and what they are."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
import trustme
from cli import run
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from handler.install.certificates import (
    Pair,
    ca_problem,
    certificate_problem,
    new_ca,
    new_certificate,
    unexpired,
)

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.timezone.utc)
NAME = "eci-profile.eci-profile.svc"
DAY = dt.timedelta(1)
CA = new_ca(NOW)
CERTIFICATE = new_certificate(CA, NAME, NOW)


def ed25519_key() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    ("ca", "problem"),
    [
        (CA, ""),
        (Pair(b"", b""), "there is none"),
        (replace(CA, certificate=b"x"), "it can't be used"),
        (replace(CA, key=b""), "it can't be used"),
        (replace(CA, key=ed25519_key()), "neither an elliptic curve key nor an RSA key"),
        (replace(CA, key=new_ca(NOW).key), "the key does not match the certificate"),
        (CERTIFICATE, "it is not a CA certificate"),
        (new_ca(NOW - 3284 * DAY), ""),
        (new_ca(NOW - 3286 * DAY), "it expires at 2027-11-"),
    ],
)
def test_a_ca_is_kept_while_it_can_be_used(ca: Pair, problem: str) -> None:
    found = ca_problem(ca, NOW)
    assert problem in found
    assert bool(problem) == bool(found)


@pytest.mark.parametrize(
    ("certificate", "problem"),
    [
        (CERTIFICATE, ""),
        (Pair(b"", b""), "there is none"),
        (replace(CERTIFICATE, certificate=b"-----BEGIN CERTIFICATE-----"), "it can't be used"),
        (replace(CERTIFICATE, key=b"x"), "it can't be used"),
        (replace(CERTIFICATE, key=CA.key), "the key does not match the certificate"),
        (CA, f"it can't be used: No {x509.SubjectAlternativeName}"),
        (new_certificate(CA, "another", NOW), f"it is not for {NAME}"),
        (new_certificate(new_ca(NOW + DAY), NAME, NOW), "it was not issued by the current CA"),
        (new_certificate(CA, NAME, NOW - 59 * DAY), ""),
        (new_certificate(CA, NAME, NOW - 61 * DAY), "it expires at 2026-12-23T12:00:00Z"),
    ],
)
def test_a_certificate_is_kept_while_it_can_be_used(certificate: Pair, problem: str) -> None:
    found = certificate_problem(certificate, CA, NAME, NOW)
    assert problem in found
    assert bool(problem) == bool(found)


def test_a_certificate_does_not_outlive_its_ca() -> None:
    ca = new_ca(NOW - 3640 * DAY)
    certificate = x509.load_pem_x509_certificate(new_certificate(ca, NAME, NOW).certificate)
    assert certificate.not_valid_after_utc == NOW + 10 * DAY
    assert certificate.not_valid_before_utc < NOW


def test_two_cas_have_different_names() -> None:
    subjects = {
        x509.load_pem_x509_certificate(ca.certificate).subject for ca in (CA, new_ca(NOW + DAY))
    }
    assert len(subjects) == 2


def test_a_bundle_is_cleaned_and_bounded() -> None:
    old = new_ca(NOW - 3651 * DAY)
    bundle = CA.certificate + old.certificate + CA.certificate
    assert unexpired(bundle, NOW) == [CA.certificate]
    assert unexpired(b"no PEM", NOW) == []
    assert unexpired(b"", NOW) == []
    many = [trustme.CA().cert_pem.bytes() for _ in range(12)]
    assert unexpired(b"".join(many), NOW) == many[:10]


@pytest.mark.parametrize("wait", ["-1", "nan", "5m", "3601", ""])
@pytest.mark.parametrize("command", ["install", "certificates"])
def test_a_wrong_wait_is_named(command: str, wait: str) -> None:
    result = run(command, f"--wait={wait}")
    assert result.returncode == 2
    expected = f"must be a number of seconds from 0 to 3600, such as 300, not {wait!r}"
    assert expected in " ".join(result.stderr.split())
