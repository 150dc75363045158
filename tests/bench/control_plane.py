"""Pods a second that a real API server creates with each webhook, if there is one on the machine.

Server-side dry runs: the API server does all but store the pod.
"""
