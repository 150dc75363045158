"""The decision: which selectors match a pod, what becomes of it, and why. No input or output."""
