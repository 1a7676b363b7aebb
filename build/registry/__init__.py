"""Images into registries: the OCI distribution protocol, logins, retries."""
