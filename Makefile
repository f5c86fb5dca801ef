# `make` alone lists the targets.
PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install run test test-fast coverage chaos abuse containers bench capacity simulate screenshots manage kafka postgres clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/dev.installed ## Make .venv with all pinned requirements; does nothing unless they changed

# What runs the stack needs run.txt only, which dev.txt includes.
RUNNABLE := $(firstword $(wildcard $(VENV)/dev.installed) $(VENV)/run.installed)

$(VENV)/%.installed: requirements/%.txt $(VENV)/uv.installed
	@export PATH="$(BIN):$$PATH" UV_SYSTEM_CERTS=true; uv pip install --python $(BIN)/python --require-hashes --requirement $< \
		|| { echo "uv failed, so pip installs, which takes longer" >&2; python -m ensurepip && python -m pip install --require-hashes --requirement $<; }
	@touch $@

$(VENV)/uv.installed: requirements/uv.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or later, or name it: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: Python 3.11 or later is needed, name it: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install it whole (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --without-pip $(VENV)
	@command -v uv >/dev/null || $(PYTHON) -m pip --python $(BIN)/python install --require-hashes --requirement $< \
		|| { $(BIN)/python -m ensurepip && $(BIN)/python -m pip install --require-hashes --requirement $<; } || echo "uv cannot be installed" >&2
	@touch $@

run: $(RUNNABLE) ## Start everything on ports 7007 and 7008; Ctrl-C stops it
	@$(BIN)/python -m devstack run

PYTEST := python -m pytest
# Much of it waits, so three processes share it, file by file; each has services of its own.
WHOLE_SUITE := --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: install ## Run all tests, or some: make test ARGS="tests/unit -k title"
	@$(BIN)/$(PYTEST) $(or $(ARGS),$(WHOLE_SUITE))

test-fast: install ## Run the tests that start no service, in under a minute: make test-fast ARGS="-k title"
	@$(BIN)/python -m pytest tests/unit -m "not slow" --numprocesses 2 --hypothesis-profile quick $(ARGS)

coverage: install ## Run all tests, slower by half, and list the lines that none of them reaches
	@$(BIN)/coverage erase
	@$(MAKE) --no-print-directory test PYTEST="coverage run -m pytest"
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --show-missing

chaos: install ## Break everything under load and count: make chaos ARGS="--seconds 60 --seed 1"
	@$(BIN)/python -m tests.chaos $(ARGS)

abuse: install ## Attack both ports and watch other clients: make abuse ARGS="--seconds 5 --proxy"
	@$(BIN)/python -m tests.abuse $(ARGS)

containers: install ## Build the images and run all of compose.yml, for real; says what it stood in for
	@$(BIN)/python -m tests.containers

bench: install ## Measure everything beside its baselines, or a part: make bench-edge ARGS=--quick
	@$(BIN)/python -m benchmarks $(ARGS)

bench-%: install
	@$(BIN)/python -m benchmarks $* $(ARGS)

capacity: install ## Predict what a rate of todos needs: make capacity ARGS="--todos-per-second 5000"
	@$(BIN)/python -m benchmarks.capacity $(ARGS)

simulate: install ## Simulate a million todos a second and a host that dies: make simulate ARGS=--help
	@$(BIN)/python -m benchmarks.capacity.simulate $(ARGS)

screenshots: install ## Make the pictures of docs/screenshots again
	@$(BIN)/python -m pytest tests/browser/screenshots.py

manage: $(RUNNABLE) ## Use the running stack: make manage ARGS=pipeline_status
	@$(BIN)/python -m devstack exec python manage.py $(ARGS)

kafka: $(RUNNABLE) ## Kafka's own tools: make kafka ARGS="kafka-consumer-groups --describe --group todo"
	@$(BIN)/python -m devstack tool $(ARGS)

postgres: $(RUNNABLE) ## PostgreSQL's own tools: make postgres ARGS="pg_dump --format custom --file FILE"
	@$(BIN)/python -m devstack tool $(ARGS)

clean: ## Remove the virtual environments, the stack's data and caches; .env stays
	rm -rf $(VENV) .venv-* .devstack staticfiles .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- lint, requirements and images
UV_COMPILE := $(BIN)/uv --directory requirements pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make requirements'

.PHONY: lint fix audit requirements images pin-images

# Production's switches, and services that nothing answers for: lint needs none.
lint: export DJANGO_DEBUG := false
lint: export DJANGO_SECRET_KEY := only-for-lint-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDE
lint: export DJANGO_ALLOWED_HOSTS := todo.example
lint: export DJANGO_SECURE_SSL_REDIRECT := true
lint: export DATABASE_URL := postgres://lint@localhost:1/lint
lint: export REDIS_URL := redis://localhost:1/0
lint: install ## Check style, types, imports, migrations, settings, requirements and containers
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python requirements/check.py
	$(BIN)/python -m docker.check_compose
	$(BIN)/python -m docker.check_k8s
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/shellcheck docker/*.sh tests/containers/stand_ins/*.sh .ci/run
	@git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline
	@$(MAKE) --no-print-directory audit

# Of this version holes are known, wherever an index tells of any.
ADVISORIES := import json, urllib.request as u; json.load(u.urlopen("https://pypi.org/pypi/django/4.2/json", timeout=5))["vulnerabilities"][0]

audit: install ## Look for known holes in the pinned packages; skipped where PyPI's advisories cannot be had
	@if $(BIN)/python -c '$(ADVISORIES)' 2>/dev/null; then \
		$(BIN)/pip-audit --strict --progress-spinner off --disable-pip --require-hashes --requirement requirements/dev.txt; \
	else echo "audit: SKIPPED, PyPI's advisories cannot be had here"; fi

fix: install ## Repair what ruff can repair
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

requirements: install ## Compile requirements/*.in; newer versions too: make requirements ARGS=--upgrade
	$(UV_COMPILE) $(ARGS) --output-file dev.txt dev.in
	for name in run django edge tracing uv; do $(UV_COMPILE) --constraints dev.txt --output-file $$name.txt $$name.in || exit; done

images: ## Build the container images; with traces: make images ARGS="--build-arg TRACING=true"
	docker build $(ARGS) --file docker/django.Dockerfile --tag todo-django .
	docker build $(ARGS) --file docker/edge.Dockerfile --tag todo-edge .

pin-images: install ## Pin the images of others by digest, in compose.yml, docker/ and docker/k8s, or renew the pins
	@$(BIN)/python -m docker.pin_images
