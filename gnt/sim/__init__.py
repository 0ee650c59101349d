"""A whole cluster in one process on a false clock."""
