"""Have a server process write down its coverage before it ends itself.

uvicorn ends a worker of gunicorn by the signal that stopped it, with the default action, so
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
