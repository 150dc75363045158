"""The benchmark: ratios of the function to others, measured side by side. See ``make bench``."""
