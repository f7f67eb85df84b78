# What a person types, and CI. Everything runs in .venv, which is made when it is missing; no shell has to activate it.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help venv demo up check test test-unit test-together test-system test-long test-loaded test-blackbox test-kinds test-versions test-api test-two-keys test-proxy test-network test-compose test-faults test-mutations test-s3 test-redis test-senders test-clients test-slow soak format docs lock digests

PYTHON := .venv/bin/python

# The user's text goes through the environment, as it is: neither make nor a shell may expand what is in it.
PROMPT ?= a large red circle on a blue background
override PROMPT := $(value PROMPT)
export PROMPT

MINUTES ?= 60

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: venv  ## Make one picture from nothing, and stop: make demo PROMPT="a yellow star left of a cyan ring on a black background"
	@./imagemill demo

up: venv  ## Run the whole system here, until Ctrl-C
	@./imagemill up

check: venv  ## Format, lint, types, and who may import whom
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) .venv/bin/lint-imports

# One process imports the libraries once, and has one system for all of its tests.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest

test: venv  ## The tests of a change, two suites at a time: test-unit, test-together, test-system; 5 to 8 minutes
	@echo "Three suites, two at a time. Each shows what it did when it is over, the first after a minute or two …"
	@TIMEFORMAT='make test took %R s; of processor time %U s, and %S s in the kernel'; \
	time $(MAKE) --no-print-directory -j 2 --keep-going --output-sync=target test-together test-unit test-system

test-unit: venv  ## The tests of single parts: run it after each change; 1 to 2 minutes
	$(PYTEST) -m "not long" tests/unit

test-together: venv  ## The tests of parts together, on a real Redis and a real S3 store; up to 4 minutes
	$(PYTEST) -m "not long" tests/integration

test-system: venv  ## The tests of the whole running system; up to 4 minutes
	$(PYTEST) -m "not long" tests/system

test-long: venv  ## What make test leaves out of these, and every property with many examples; up to 15 minutes
	$(PYTEST) -n 3 --dist loadfile --hypothesis-profile=long -m "long or hypothesis"

test-loaded: venv  ## Run test-system three times beside 12 processes that compute: does every deadline hold? Up to 1 hour
	OMP_NUM_THREADS=1 $(PYTHON) -m tests.loaded

test-blackbox: venv  ## Hold the running system to what users were promised, from outside alone; up to 20 minutes
	$(PYTHON) -m pytest -n 3 --dist worksteal tests/blackbox

test-kinds: venv  ## Run kinds of jobs that live in the tests alone through the whole system; up to 5 minutes
	$(PYTHON) -m pytest -n 2 --dist loadfile tests/kinds

test-versions: venv  ## Run the previous version's workers beside this one's producers, and the reverse, under load; up to 5 minutes
	$(PYTHON) -m pytest -n 2 tests/versions

test-api: venv  ## Hold the HTTP API to its OpenAPI document, and to its bounds while others abuse it; up to 5 minutes
	$(PYTHON) -m pytest tests/api

test-two-keys: venv  ## Only what one key's attacks cost another; its ratios hold on a machine that does nothing else
	$(PYTHON) -m pytest tests/api/test_two_keys.py

test-network: venv  ## Run workers on hosts of their own, and cut one off; as root; up to 3 minutes
	$(PYTHON) -m pytest tests/network

test-faults: venv  ## Break the running system in every way that the reliability table lists; up to 15 minutes
	$(PYTHON) -m pytest -n 2 --dist worksteal tests/faults

test-mutations: venv  ## Take a write or a guard out of the job table's scripts, one at a time: a test has to notice each; up to half an hour
	$(PYTHON) -m tests.mutations.run

test-s3: venv  ## Try the storage contract on any S3 store: S3_ENDPOINT_URL, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY
	@for name in S3_ENDPOINT_URL S3_ACCESS_KEY_ID S3_SECRET_ACCESS_KEY; do \
	    if [ -z "$${!name}" ]; then echo "make test-s3: set $$name; docs/storage.md says what else can be set." >&2; exit 2; fi; \
	done
	$(PYTHON) -m pytest tests/integration/storage --s3-from-environment

test-redis: venv  ## Run jobs on a Redis behind TLS and behind Sentinels, and let it die; up to 3 minutes
	$(PYTHON) -m pytest tests/redis

test-proxy: venv  ## Ask two API replicas through nginx, with TLS and below a path; up to 1 minute
	$(PYTHON) -m pytest tests/proxy

test-senders: venv  ## Send by other versions of Celery, and from other languages, as services do; up to 4 minutes
	$(PYTHON) -m pytest tests/senders

test-clients: venv  ## Make pictures by OpenAI's clients, LangChain, LiteLLM, Vercel's AI SDK and as Open WebUI does; up to 5 minutes
	$(PYTHON) -m pytest tests/clients

test-slow: venv  ## All slower suites but test-compose, test-mutations, test-clients and test-two-keys, five tests at a time, as CI runs them; up to 35 minutes
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 5 --dist worksteal --ignore tests/api/test_two_keys.py $(addprefix tests/,versions api proxy faults redis senders network kinds blackbox)

test-compose: venv  ## Build, start and break docker-compose.yml where there is a Docker engine; up to 15 minutes
	$(PYTHON) -m pytest tests/compose

soak: venv  ## Load of all sorts with faults and attacks in turns: does anything grow, is a job lost? make soak MINUTES=60
	$(PYTHON) -m tests.soak --minutes $(MINUTES)

format: venv  ## Put the code in form
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

venv: .venv/.installed  ## Make .venv with everything in it; the other targets do it when needed

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

docs: venv  ## Write docs/settings.md anew, from the settings
	$(PYTHON) -m ops.documents.settings

lock: venv  ## Write requirements/ anew, after a change of pyproject.toml; make lock UPGRADE=1 takes newer versions, too
	@$(PYTHON) -m ops.supply.requirements $(if $(UPGRADE),--upgrade)

digests: venv  ## Write into docker-compose.yml and the Dockerfiles which digests the images of others have today
	@$(PYTHON) -m ops.supply.images
