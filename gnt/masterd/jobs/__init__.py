"""The job queue, its states, its locks and the processor."""
