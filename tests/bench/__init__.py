"""The benchmark: compares the function with others, measured side by side. See ``make bench``."""
