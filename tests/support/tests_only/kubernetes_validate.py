"""Hides the package of this name from the function, as if it were not installed.

Only tests use it. The kubernetes client imports it where it is installed, which takes long.
"""

raise ImportError("only tests use it")
