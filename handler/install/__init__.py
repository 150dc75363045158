"""The commands of Jobs in the cluster: finish an installation, renew the certificate."""
