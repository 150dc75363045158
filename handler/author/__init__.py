"""Command-line tools for authors of profiles."""
