# Each target sets up what it needs, in .venv and .venv-func. `make` alone lists them.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11 python3.10,\
  $(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $(p))))
PORT ?= 8080
BIN := .venv/bin
SAMPLE := k8s/sample

.DEFAULT_GOAL := help
.PHONY: help run try test fuzz soak bench audit lint format schema lock page clean
.PHONY: install manifest uninstall renew-certificate register test-cluster

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/run.done ## serve on PORT (8080) with the sample profile, without a cluster
	@echo "The profile and namespaces are those of $(SAMPLE)/profile.yaml: edit it while this runs."
	@echo "See and try it in a browser:  http://localhost:$(PORT)/"
	@echo "In another terminal:  make try PORT=$(PORT)"
	@echo "or:  curl -s -d @$(SAMPLE)/review.json http://localhost:$(PORT)/mutate"
	@ECI_PROFILE_PROVIDER=file ECI_PROFILE_FILE=$(SAMPLE)/profile.yaml ECI_PROFILE_PAGE=1 \
	  $(BIN)/functions-framework --source handler/main.py --target admit --port $(PORT)

try: .venv/run.done ## send the sample pod (or POD=file) to it, and show how the pod changes
	@$(BIN)/python tests/support/try.py --port $(PORT) $(or $(POD),$(SAMPLE)/pod.yaml)

test: .venv/test.done .venv-func/test.done ## run all tests (or ARGS="tests/unit"); fails below 95 % branch coverage of handler/
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest -n auto -m "not quiet" --durations=15 --cov --cov-report=term
	$(BIN)/python -m pytest -m quiet $(shell grep -rl --include='test_*.py' mark.quiet tests)
endif

fuzz: .venv/test.done ## run the property tests with EXAMPLES (25) times as many examples, and fuzz for SECONDS (600)
	EXAMPLES=$(or $(EXAMPLES),25) $(BIN)/python -m pytest $(shell grep -l 'import examples' tests/unit/*.py)
	$(BIN)/python tests/load/fuzz.py reviews .fuzz/reviews -max_total_time=$(or $(SECONDS),600)
	$(BIN)/python tests/load/fuzz.py profiles .fuzz/profiles -max_total_time=$(or $(SECONDS),600)

soak: .venv/test.done ## send REVIEWS (200000) to one process, whose memory and descriptors must not grow
	REVIEWS=$(or $(REVIEWS),200000) $(BIN)/python -m pytest tests/load/test_soak.py

bench: .venv/bench.done ## measure performance, compared with the bare framework: ROUNDS (5), SECONDS (1.5), ARGS
	PYTHONPATH=tests:tests/support $(BIN)/python -m bench --rounds $(or $(ROUNDS),5) --seconds $(or $(SECONDS),1.5) $(ARGS)

audit: .venv/bin/python ## check the pinned packages for known vulnerabilities
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	.venv-audit/bin/pip-audit --requirement requirements.txt

lint: .venv/test.done ## check style (ruff), types (mypy), shell scripts (shellcheck) and spelling (codespell)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy handler tests .ci/release_notes.py
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/run $(wildcard k8s/*.sh k8s/*/*.sh k8s/*/*/*.sh)
	$(BIN)/codespell

format: .venv/test.done ## format the code with ruff
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

schema: .venv/run.done ## regenerate docs/profile.schema.json, after a change of the fields of the profile
	$(BIN)/python -m handler schema > docs/profile.schema.json

lock: .venv/run.done ## pin the newest compatible packages in all requirements.txt
	$(BIN)/pip install --quiet uv
	$(BIN)/uv $(LOCK) pyproject.toml --extra server --extra author -o requirements.txt
	$(BIN)/uv $(LOCK) pyproject.toml -c requirements.txt -o handler/requirements.txt
	$(BIN)/uv $(LOCK) --group test -c requirements.txt -o tests/requirements.txt
	$(BIN)/uv $(LOCK) pyproject.toml --group func -c handler/requirements.txt \
	  -c tests/requirements.txt -o tests/func-requirements.txt
	$(BIN)/uv $(LOCK) --group bench -c requirements.txt -c tests/requirements.txt \
	  -o tests/bench/requirements.txt

page: ## rebuild the editor of the page from handler/web/editor; needs npm
	rm -rf .page && cp -r handler/web/editor .page
	cd .page && npm ci --ignore-scripts --no-audit --no-fund && node build.mjs ../handler/web/static/editor.js

install: ## install into the cluster: HOST=deployment|knative|openfaas CERTS=self-renewing|self-signed|cert-manager IMAGE=...
	@k8s/install.sh install

manifest: ## print everything that install applies as one file for `kubectl apply -f`; same variables
	@k8s/install.sh manifest

uninstall: ## uninstall from the cluster
	@k8s/install.sh uninstall

renew-certificate: ## make a new certificate, for CERTS=self-signed
	@k8s/certs/self-signed/renew.sh $(DAYS)

register: .venv/run.done ## print a registration narrowed to the ConfigMap in PROFILE=file
	@$(BIN)/python -m handler register $(PROFILE) $(ARGS)

test-cluster: ## install into the cluster of KUBECONFIG, test with dry runs, and uninstall
	@k8s/test-cluster.sh

.PHONY: release-notes
release-notes: ## print what the changelog says about the version of TAG=v1.2.3
	@$(PYTHON) .ci/release_notes.py "$(TAG)"

clean: ## remove the files that other targets create
	rm -rf .venv .venv-audit .venv-func build *.egg-info bench-results .coverage* .fuzz .hypothesis .page .mypy_cache .pytest_cache .ruff_cache
	find handler tests -name __pycache__ -prune -exec rm -rf {} +

LOCK := pip compile --quiet --upgrade --universal --python-version 3.10 --no-annotate \
  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.10 or later is required, but not on the PATH" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run.done: requirements.txt .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/test.done: tests/requirements.txt .venv/run.done
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt
	@touch $@

# Knative func's server, and the function as a package: as func's own builds have it.
.venv-func/test.done: tests/func-requirements.txt pyproject.toml .venv/bin/python
	$(PYTHON) -m venv .venv-func
	.venv-func/bin/pip install --quiet --disable-pip-version-check -r tests/func-requirements.txt
	.venv-func/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .

.venv/bench.done: tests/bench/requirements.txt .venv/test.done
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt \
	  -r tests/bench/requirements.txt
	@touch $@
