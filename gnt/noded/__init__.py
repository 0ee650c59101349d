"""The hands: hypervisors, disks and guest systems of one node."""
