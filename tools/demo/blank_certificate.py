"""blank_certificate.py DIRECTORY: certificates for a libvirtd that belongs to no cluster yet.

Their authority is forgotten at once, so nobody can have one that they trust; they only let libvirtd start with TLS.
"""

import random
import sys
import time
from pathlib import Path

from gnt.wire.certificates import Identity, make_authority, make_key, make_request, sign_node


def main(directory: Path) -> None:
    """Write the files under all names that libvirtd, libvirt's client and QEMU look for."""
    source = random.SystemRandom()
    authority = make_authority("nobody", now=time.time(), source=source)
    key = make_key()
    request = make_request(key, "nobody")
    uuid = "00000000-0000-0000-0000-000000000000"
    node = Identity(
        sign_node(authority, request, name="nobody", uuid=uuid, addresses=[], now=time.time(), source=source), key
    )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    contents = {
        node.key: ["clientkey.pem", "serverkey.pem", "client-key.pem", "server-key.pem"],
        authority.certificate: ["cacert.pem", "ca-cert.pem"],
        node.certificate: ["clientcert.pem", "server-cert.pem", "client-cert.pem", "servercert.pem"],
    }
    for content, names in contents.items():
        for name in names:
            path = directory / name
            path.touch(mode=0o600)
            path.write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
