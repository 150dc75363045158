"""Sends a pod to a running function and prints the change as a diff."""

from __future__ import annotations

import argparse
import difflib
import http.client
import json
import os
import sys
from pathlib import Path

import yaml
from server import checked, patched, post, request, review_of

COLOURS = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}


def main() -> str | None:
    """Return an error message, or None."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("pod", type=Path)
    arguments.add_argument("--port", type=int, default=8080)
    options = arguments.parse_args()
    pod = yaml.safe_load(options.pod.read_text("utf-8"))
    review = review_of(pod)
    try:
        reply = post(options.port, review)
    except (OSError, http.client.HTTPException) as error:
        return f"nothing answers on port {options.port} ({error}): start the function with make run"
    if reply.status != 200:
        return f"{reply.status}: {reply.json['message']}"
    response = checked(reply, review)
    after = patched(pod, response)
    diff = difflib.unified_diff(
        yaml.safe_dump(pod, sort_keys=False).splitlines(),
        yaml.safe_dump(after, sort_keys=False).splitlines(),
        fromfile="before",
        tofile="after",
        lineterm="",
        n=100,
    )
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in diff:
        colour = COLOURS.get(line[0], "") if coloured else ""
        print(f"{colour}{line}\033[0m" if colour else line)
    for warning in response.get("warnings", []):
        print(f"Warning: {warning}")
    print(f"Audit: {json.dumps(response.get('auditAnnotations', {}))}")
    if outdated := request(options.port, "GET", "/readyz").json.get("outdated"):
        print(f"Warning: {outdated}", file=sys.stderr)
    return None


if __name__ == "__main__":
    sys.exit(main())
