"""The figures that were promised, measured on clusters of real daemons on this machine's loopback addresses."""
