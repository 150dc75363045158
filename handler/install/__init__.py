"""What Jobs in the cluster run: they finish an installation and renew the certificate."""
