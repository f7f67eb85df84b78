# What a person types, and CI. Everything runs in .venv, which is made when it is missing; no shell has to activate it.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help venv demo up check test test-unit test-models test-together test-system test-long test-properties test-loaded test-blackbox test-kinds test-versions test-api test-two-keys test-proxy test-network test-compose test-faults test-mutations test-s3 test-redis test-senders test-clients test-borrowed test-slow soak format docs lock digests

PYTHON := .venv/bin/python

# The user's text goes through the environment, as it is: neither make nor a shell may expand what is in it.
PROMPT ?= a large red circle on a blue background
override PROMPT := $(value PROMPT)
export PROMPT

MINUTES ?= 60

help:  ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

demo: venv  ## Start everything, make one image and edit it, stop everything: make demo PROMPT="a yellow star on a black background"
	@./imagemill demo

up: venv  ## Run the whole system on this machine until Ctrl-C
	@./imagemill up

check: venv  ## Check format, lint rules, types and import rules
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) .venv/bin/lint-imports

# One process imports the libraries once, and has one system for all of its tests. Those of parts together are in two:
# in one, the Redis of test_hostile_messages is not what it expects.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest

# Of the single parts, those that compute with torch: tiny models take most of the time of all unit tests.
MODELS := $(addprefix tests/unit/workers/,bench builtin engine families loading)

test: venv  ## The tests of a change, two suites at a time: test-unit, test-models, test-together, test-system; 5 to 8 minutes
	@echo "Four suites, two at a time. Each shows what it did when it is over, the first after a minute or two …"
	@TIMEFORMAT='make test took %R s; of processor time %U s, and %S s in the kernel'; \
	time $(MAKE) --no-print-directory -j 2 --keep-going --output-sync=target test-together test-models test-system test-unit

test-unit: venv  ## The tests of single parts, without models: run it after each change; 1 minute
	$(PYTEST) -m "not long" $(addprefix --ignore=,$(MODELS)) tests/unit

test-models: venv  ## The tests of engine, families and loading on tiny models; 3 to 5 minutes
	$(PYTEST) -m "not long" $(MODELS)

test-together: venv  ## The tests of parts together, on a real Redis and a real S3 store; up to 4 minutes
	$(PYTEST) -n 2 --dist loadfile -m "not long" tests/integration

test-system: venv  ## The tests of the whole running system; up to 4 minutes
	$(PYTEST) -m "not long" tests/system

test-long: venv  ## The long tests, which make test leaves out; up to 15 minutes
	$(PYTEST) -n 3 --dist loadfile --hypothesis-profile=long -m long

test-properties: venv  ## The property-based tests with eight times as many examples
	$(PYTEST) -n 3 --dist loadfile --hypothesis-profile=long -m hypothesis

test-loaded: venv  ## Run test-system three times beside 12 processes that compute: does every deadline hold? Up to 1 hour
	OMP_NUM_THREADS=1 $(PYTHON) -m tests.loaded

test-blackbox: venv  ## Test the running system from outside, as a user sees it; up to 20 minutes
	$(PYTHON) -m pytest -n 3 --dist worksteal tests/blackbox

test-kinds: venv  ## Test that new kinds of jobs can be added; up to 5 minutes
	$(PYTHON) -m pytest -n 2 --dist loadfile tests/kinds

test-versions: venv  ## Test the previous version and this one side by side, under load; up to 5 minutes
	$(PYTHON) -m pytest -n 2 tests/versions

test-api: venv  ## Test the HTTP API against its OpenAPI document, and its limits under attack; up to 5 minutes
	$(PYTHON) -m pytest tests/api

test-two-keys: venv  ## Test what attacks with one key cost another key; needs a machine that does nothing else
	$(PYTHON) -m pytest tests/api/test_two_keys.py

test-network: venv  ## Test workers that lose their network, each in its own network namespace; needs root; up to 3 minutes
	$(PYTHON) -m pytest tests/network

test-faults: venv  ## Test each failure of the reliability table in the running system; up to 15 minutes
	$(PYTHON) -m pytest -n 2 --dist worksteal tests/faults

test-mutations: venv  ## Remove one write or check of the Lua scripts at a time; a test must fail each time; up to 30 minutes
	$(PYTHON) -m tests.mutations.run

test-s3: venv  ## Test the storage contract on any S3 store: S3_ENDPOINT_URL, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY
	@for name in S3_ENDPOINT_URL S3_ACCESS_KEY_ID S3_SECRET_ACCESS_KEY; do \
	    if [ -z "$${!name}" ]; then echo "make test-s3: set $$name; docs/storage.md says what else can be set." >&2; exit 2; fi; \
	done
	$(PYTHON) -m pytest tests/integration/storage --s3-from-environment

test-redis: venv  ## Test Redis with TLS, with Sentinels, and a failover; up to 3 minutes
	$(PYTHON) -m pytest tests/redis

test-proxy: venv  ## Test two API replicas behind nginx, with TLS and a path prefix; up to 1 minute
	$(PYTHON) -m pytest tests/proxy

test-senders: venv  ## Test submitting with other versions of Celery and from other languages; up to 4 minutes
	$(PYTHON) -m pytest tests/senders

test-clients: venv  ## Test with the clients of OpenAI, LangChain, LiteLLM, Vercel's AI SDK and Open WebUI; up to 5 minutes
	$(PYTHON) -m pytest tests/clients

test-borrowed: venv  ## Test engine, families and bench on Python 3.12 and torch 2.11, without Celery, Redis and boto3; up to 15 minutes
	$(PYTHON) -m pytest tests/borrowed

# tests/borrowed first: it takes longest, and one process runs it.
test-slow: venv  ## Run the slower suites as CI does (without test-compose, test-mutations, test-clients, test-two-keys); up to 35 minutes
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 5 --dist worksteal --ignore tests/api/test_two_keys.py $(addprefix tests/,versions api proxy faults redis senders network kinds blackbox borrowed)

test-compose: venv  ## Build, start and break docker-compose.yml; needs Docker; up to 15 minutes
	$(PYTHON) -m pytest tests/compose

soak: venv  ## Run mixed load with faults and attacks; report growing memory and lost jobs: make soak MINUTES=60
	$(PYTHON) -m tests.soak --minutes $(MINUTES)

format: venv  ## Format the code
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

venv: .venv/.installed  ## Create .venv with all dependencies; other targets do it when needed

# pyproject.toml is not among these: what it asks for is installed once `make lock` has written it down.
.venv/.installed: $(wildcard requirements/*)
	@python=; for each in python3.11 python3; do \
	    if $$each -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then python=$$each; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Imagemill needs Python 3.11, and neither python3.11 nor python3 is one. Put it on the PATH." >&2; exit 1; \
	fi; \
	echo "Making .venv and installing into it; the first time takes about a minute …"; \
	$$python -m venv .venv
	@$(PYTHON) -m pip uninstall --quiet --yes --disable-pip-version-check imagemill 2>/dev/null  # of earlier versions
	@set -o pipefail; requirements/install $(PYTHON) all | awk '$(SHOW_PIP)'
	@touch $@

# Of pip's many lines, those that a person waits for: downloads of megabytes, and the last step.
SHOW_PIP = /Downloading .*MB/ { n = split($$2, path, "/"); split(path[n], name, "-"); print "  " name[1], name[2], $$3, $$4 } \
    /^Installing collected/ { print "  installing " NF - 3 " packages" } { fflush() }

docs: venv  ## Generate docs/settings.md from the settings, and tables and entries of docs/models.md
	$(PYTHON) -m ops.documents.settings
	$(PYTHON) -m ops.documents.models

lock: venv  ## Lock the dependencies in requirements/, after a change of pyproject.toml; make lock UPGRADE=1 takes newer versions
	@$(PYTHON) -m ops.supply.requirements $(if $(UPGRADE),--upgrade)

digests: venv  ## Pin third-party images by digest in docker-compose.yml and the Dockerfiles; needs their registries
	@$(PYTHON) -m ops.supply.images
