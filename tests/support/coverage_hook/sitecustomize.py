"""Saves a server process's coverage data before it exits.

A uvicorn worker under gunicorn re-raises the signal that stopped it with the default action, so
neither exit handlers nor coverage's own SIGTERM handler run.
"""

import signal

import coverage

_raise_signal = signal.raise_signal


def _save_and_raise(number: int) -> None:
    measuring = coverage.Coverage.current()
    if measuring:
        measuring.stop()
        measuring.save()
    _raise_signal(number)


signal.raise_signal = _save_and_raise
