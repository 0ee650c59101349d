# Every target works without a terminal and without standard input, in a fresh clone, as root or not.
SHELL := /bin/bash
.DEFAULT_GOAL := help
NODES ?= 3
VENV := .venv/bin
# Bytecode is kept, whatever the environment says: tests start thousands of programs, and rewrite each test's assertions.
export PYTHONDONTWRITEBYTECODE :=
# All tests: by several workers, in the order of tests/side_by_side.py. A worker that dies ends the run.
SIDE_BY_SIDE := -n auto --dist loadgroup --no-loadscope-reorder --max-worker-restart=0 --durations=15
# The machines of three clusters at once: each often waits for the other end of something. They need 1 GiB each.
DISKS_SIDE_BY_SIDE := -n 3 --dist loadgroup --no-loadscope-reorder --max-worker-restart=0 --durations=0

.PHONY: help setup demo cluster demo-stop test test-disks simulate mutants lint bench man

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make cluster NODES=5    as many nodes as asked for (default 3)"
	@echo "  make test TESTS=tests/model   only these tests"

setup: ## build .venv with the pinned dependencies (whatever needs it does it by itself)
	@tools/setup.sh venv </dev/null

demo: ## as root: three nodes on this machine and a real virtual machine that moves between them
	@tools/demo/demo.sh </dev/null

cluster: ## as anybody: NODES=n nodes on loopback addresses, with the hypervisor "fake"
	@tools/setup.sh venv </dev/null
	@tools/demo/cluster.sh $(NODES) </dev/null

demo-stop: ## end what demo or cluster left running; nothing remains
	@tools/demo/stop.sh </dev/null

test: ## the tests, real guests included where this machine can (the longest of disks are in test-disks)
	@tools/setup.sh venv packages guest tests </dev/null
	@$(VENV)/python -m pytest $(or $(TESTS),$(SIDE_BY_SIDE)) </dev/null

test-disks: ## real volumes and mirrors in machines of their own, images of a real Ceph (an hour; see setup.sh ceph, disk-kernel)
	@tools/setup.sh venv tests </dev/null
	@$(VENV)/python -m pytest -m "long_disks or not long_disks" -o faulthandler_timeout=1800 \
		$(or $(TESTS),$(DISKS_SIDE_BY_SIDE) tests/real_disks tests/real_ceph) </dev/null

simulate: ## a cluster in one process: SEEDS=n runs by chance; SEED=n tells one; SITUATIONS=1 a fault in each situation (minutes); none: a fault at each point (hours)
	@tools/setup.sh venv </dev/null
	@$(VENV)/python -m gnt.sim $(if $(SEED),seed $(SEED),$(if $(SEEDS),seeds $(SEEDS),exhaust $(if $(SITUATIONS),--situations))) </dev/null

mutants: ## the tester tested: faults put into the code, each of which the simulator has to find
	@tools/setup.sh venv </dev/null
	@$(VENV)/python -m tools.mutants </dev/null

lint: ## ruff, strict mypy, import contract, and whether all tests can be read
	@tools/setup.sh venv </dev/null
	@tools/lint.sh </dev/null

man: ## write the manual pages of all commands: man -M .cache/man gnt-instance
	@tools/setup.sh venv </dev/null
	@$(VENV)/python -m gnt.cli.manual .cache/man </dev/null

bench: ## measure; the figures beside their goals, then what each file of bench/ prints (SHORT=1: a few minutes)
	@tools/setup.sh venv </dev/null
	@tools/bench.sh $(if $(SHORT),--short) </dev/null
