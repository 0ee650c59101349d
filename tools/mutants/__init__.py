"""The tester tested: `make mutants`."""
