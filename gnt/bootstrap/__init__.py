"""What runs where no master daemon runs: cluster init and joining a node."""
