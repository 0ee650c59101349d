"""The brain: jobs, locks, operations, queries, mastership."""
