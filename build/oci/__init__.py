"""Images as files: descriptors, layers, manifests and archives; no network, no container tool.

The formats are the OCI image specification 1.1 (descriptors, manifests, indexes, layers and the
image layout folder) and Docker's image archive, which `docker load` and `podman load` take.
The same content gives the same bytes, and so the same digests.
"""
