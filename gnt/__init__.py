"""gnt: virtual machines on a cluster of physical nodes."""

__version__ = "0.1.0"
