"""ECI Profile: a mutating admission webhook that sends pods to virtual nodes by label."""


def __getattr__(name: str) -> object:
    # Knative func imports `new` from the package; the other hosts do without that import.
    if name == "new":
        from .func import new

        return new
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
