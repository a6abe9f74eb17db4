# `make run` and `make test` each do all of their own set-up; `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
CONFIG := etc/rules.yaml
PYTEST_ARGS :=
BENCH_ARGS :=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
# What an installation depends on; it is an editable one, which finds new sources by itself.
SETUP := Makefile setup.cfg pyproject.toml $(wildcard build_backend/*.py)
EXTRAS := [test,lint]
CHECKED := regroute tests twisted/plugins build_backend benchmarks

.DEFAULT_GOAL := help
.PHONY: help run test lint bench clean python

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | expand -t 8

run: $(VENV)/.installed ## Serve etc/rules.yaml on port 10000 until Ctrl-C (CONFIG=… for another file)
	@exec $(BIN)/twistd --nodaemon --pidfile= regroute --config $(CONFIG)

test: $(VENV)/.installed-tools ## Run all tests (PYTEST_ARGS=… for pytest); as root with real clients
	@sh tests/provision.sh
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-tools ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(CHECKED)

bench: $(VENV)/.installed ## Measure beside nginx, HAProxy, Caddy and Envoy (BENCH_ARGS=--quick …)
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean: ## Remove all that these targets made, the virtual environment included
	rm -rf $(VENV) benchmarks/.venv build dist regroute.egg-info twisted/plugins/dropin.cache \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(CHECKED) -name __pycache__ -prune -exec rm -rf {} +

# twistd --help writes Twisted's plugin cache, here and in the virtual environment.
define install
@echo 'installing $(1) into $(VENV)'
@$(PIP) install --editable '$(1)' \
	|| { echo 'pip could not install $(1), see above; it has to reach PyPI' >&2; exit 1; }
@$(BIN)/twistd --help >/dev/null
endef

$(VENV)/.installed: $(SETUP) | $(BIN)/pip
	$(call install,.)
	@touch $@

$(VENV)/.installed-tools: $(SETUP) | $(BIN)/pip
	$(call install,.$(EXTRAS))
	@touch $(VENV)/.installed $@

$(BIN)/pip:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "regroute needs Python 3.11 or newer, $(PYTHON) is" \
			"$$($(PYTHON) --version); name another with PYTHON=…" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# Debian keeps half of venv in a package of its own, and a bare image has no Python at all.
python:
	@test "$$(id -u)" -eq 0 && command -v apt-get >/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments (on Debian, as root:" \
			"apt-get install python3-venv); name another with PYTHON=…" >&2; exit 1; }
	@echo 'installing python3-venv'
	@apt-get update -qq
	@DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
		python3 python3-venv >/dev/null
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo "$(PYTHON) still cannot make virtual environments; name another with PYTHON=…" >&2; \
		exit 1; }
