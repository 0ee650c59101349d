"""One module for each gnt-* program: its commands, as data with a function each."""
