"""What every daemon runs on: clock, thread pools, randomness, log, readiness."""
