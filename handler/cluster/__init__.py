"""Where the profile and the namespaces' labels are read."""
