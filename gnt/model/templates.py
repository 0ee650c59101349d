"""What disk templates can do: the sets of `spec/storage.md`, section 1.

The members are the templates' names, so that a set may be asked about a `DiskTemplate` and about a plain text alike.
"""

from __future__ import annotations

from typing import Final

INTERNALLY_MIRRORED: Final = frozenset({"drbd"})
"""The cluster keeps a copy on a second node."""

EXTERNALLY_MIRRORED: Final = frozenset({"blockdev", "diskless", "ext", "gluster", "rbd", "sharedfile"})
"""Any node reaches the data by itself."""

MIRRORED: Final = INTERNALLY_MIRRORED | EXTERNALLY_MIRRORED

LVM_BASED: Final = frozenset({"plain", "drbd", "thin"})
FILE_BASED: Final = frozenset({"file", "sharedfile", "gluster", "qcow2"})
NAMED_BY_INSTANCE: Final = frozenset({"file", "sharedfile", "qcow2"})
"""Their paths hold the instance's name: a rename moves them."""

WITH_ACCESS: Final = frozenset({"ext", "gluster", "rbd"})

ADOPTING: Final = frozenset({"blockdev", "plain"})
MUST_ADOPT: Final = frozenset({"blockdev"})

NOT_GROWABLE: Final = frozenset({"blockdev", "diskless"})
COPYABLE: Final = frozenset({"file", "plain", "qcow2", "thin"})
"""Their data can be copied to another node (gnt-instance move)."""

NOT_CONVERTED_FROM: Final = frozenset({"diskless"})
NOT_CONVERTED_TO: Final = frozenset({"blockdev", "diskless"})

DRBD_META_SIZE: Final = 128
"""MiB of the metadata volume of a drbd disk."""
