"""What a cluster is: objects, parameters, validation. Pure; imports nothing above it."""
