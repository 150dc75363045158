"""The command line, for those who write profiles."""
