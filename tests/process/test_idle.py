"""Idle timeout of connections. In its own file so that it runs in parallel with other tests."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from clients import BODY, FILE
from hosts import container
from server import exchange
from tls_secret import Secret


@pytest.mark.slow
def test_a_connection_may_be_idle_for_two_minutes(tmp_path: Path) -> None:
    """Go clients such as kube-apiserver reuse connections that were idle for up to 90 seconds."""
    secret = Secret(tmp_path / "secret")
    tls = {**FILE, "ECI_PROFILE_TLS_DIR": str(secret.directory)}
    with (
        container(tls, tmp_path / "tls.log", secret.client()) as server,
        container(FILE, tmp_path / "plain.log") as plain,
        contextlib.closing(server.connect()) as one,
        contextlib.closing(plain.connect()) as other,
    ):
        for connection in (one, other):
            assert exchange(connection, "POST", "/mutate", BODY).status == 200
            connection.auto_open = 0
        time.sleep(125)
        for connection in (one, other):
            assert exchange(connection, "POST", "/mutate", BODY).status == 200
