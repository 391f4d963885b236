# Every target installs what it needs into .venv; a second run reuses it.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STACK  ?= dev
AGAINST ?= origin/main
DIALECT ?= kubernetes
OUT    ?= dist

.DEFAULT_GOAL := help
.PHONY: help demo fly-demo docs chart render render-check render-diff diff-report policy sbom audit release preview up destroy test check bench simulate requirements clean toolchain toolchain-status cluster cluster-demo cluster-down e2e image

help: ## list every target
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=...")'
	@$(PYTHON) -m venv $(VENV)

# A stamp a set of requirements: pip runs again only when the file is newer.
$(VENV)/.installed-%: requirements/%.txt | $(PY)
	@echo "installing requirements/$*.txt into $(VENV) (hash-checked, once) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

render: $(VENV)/.installed-render ## write every artifact of a stack under $(OUT)/$(STACK)/
	@$(PY) -m components.synth --stack $(STACK) --out $(OUT)

chart: $(VENV)/.installed-render ## write a stack's Helm chart, as a folder and packed, under $(OUT)/$(STACK)/
	@$(PY) -m components.helm --stack $(STACK) --out $(OUT)

render-check: $(VENV)/.installed-render ## exit 1 with a diff when $(OUT)/$(STACK)/ is out of date (OUT=deploy: committed files)
	@$(PY) -m components.synth --stack $(STACK) --out $(OUT) --check

render-diff: $(VENV)/.installed-render ## show what the working tree changes in a stack's files (AGAINST=revision)
	@$(PY) -m components.synth --stack $(STACK) --diff $(AGAINST)

policy: ## make the environment of the Pulumi policy pack, policy/.venv
	@test -d policy/.venv || $(PYTHON) -m venv policy/.venv
	@policy/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/policy.txt

# An environment of its own: nothing else needs any of these tools.
AUDIT := dist/.audit

$(AUDIT)/.installed: requirements/audit.txt
	@$(PYTHON) -m venv $(AUDIT)
	@echo "installing requirements/audit.txt into $(AUDIT) (hash-checked, once) ..."
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.txt
	@touch $@

sbom: $(AUDIT)/.installed $(VENV)/.installed-runtime ## write what the image ships, as CycloneDX and with licences, under dist/sbom/
	@mkdir -p dist/sbom
	@$(AUDIT)/bin/python -W ignore -m cyclonedx_py requirements --output-reproducible --pyproject pyproject.toml requirements/runtime.txt -o dist/sbom/runtime.cdx.json
	@$(AUDIT)/bin/pip-licenses --python $(PY) --from=mixed --with-urls --format=markdown --output-file=dist/sbom/licences.md \
	  --packages $$(sed -n 's/^\([A-Za-z0-9._-]*\)==.*/\1/p' requirements/runtime.txt) >/dev/null
	@echo "dist/sbom: runtime.cdx.json, licences.md"

audit: $(AUDIT)/.installed ## hold what the image ships against the known vulnerabilities; fails where one cannot be looked up
	@$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/runtime.txt \
	  $$(sed -n 's/^\([A-Z][A-Za-z0-9-]*\) .*/--ignore-vuln \1/p' requirements/audit-exceptions.txt)

release: $(VENV)/.installed-render sbom ## wheel, a stack's files, its chart, the SBOM and their checksums in dist/release/, of the last commit
	@rm -rf dist/release
	@$(PY) -m components.release --stack $(STACK) --also dist/sbom/runtime.cdx.json dist/sbom/licences.md

diff-report: render ## what the working tree changes in money, rights and images, for a reviewer (AGAINST=revision)
	@$(PY) -m components.diff_report $(AGAINST) $(OUT) --stack $(STACK) || test $$? -eq 1

demo: $(VENV)/.installed-runtime ## pay three jobs on a local Purple Flea (DIALECT=kubernetes|fly|server KEEP=1 leaves it up)
	@$(PY) -m runtime.demo --dialect $(DIALECT) $(if $(KEEP),--keep)

fly-demo: render $(VENV)/.installed-runtime ## bill inferences through the Fly.io agents in Python and, where there is a Go, in Go
	@if command -v go >/dev/null; then echo "building the agent in Go (half a minute the first time) ..." && \
	  go -C $(OUT)/$(STACK)/fly/go build -trimpath -buildvcs=false -o $(CURDIR)/$(VENV)/fly-agent . ; \
	 else echo "no Go on the PATH: the Python agent alone"; fi
	@$(PY) -m runtime.agent.demo $$(command -v go >/dev/null && echo --also $(VENV)/fly-agent)

# The Pulumi CLI that `make toolchain` has built: taken where none is on the PATH.
BUILT_CLI = $(shell $(PY) -c 'from tests.toolchain import tools; cli, _ = tools.present(tools.TOOLS["pulumi"]); print(cli.path if cli else "")' 2>/dev/null)

preview: $(VENV)/.installed-pulumi ## show what `make up` would change; finds or fetches the Pulumi engine
	@PULUMI_CLI="$(BUILT_CLI)" $(PY) -m components.engine preview --stack $(STACK)

up: $(VENV)/.installed-pulumi ## create or change a stack; asks before it changes a cluster (YES=1: does not)
	@PULUMI_CLI="$(BUILT_CLI)" $(PY) -m components.engine up --stack $(STACK) $(if $(YES),--yes)

destroy: $(VENV)/.installed-pulumi ## remove a stack, but for the accounts; asks first (YES=1: does not)
	@PULUMI_CLI="$(BUILT_CLI)" $(PY) -m components.engine destroy --stack $(STACK) $(if $(YES),--yes)

test: $(VENV)/.installed-dev ## run the tests; says what it skipped and why
	@$(PY) -m pytest -n 2 --dist loadgroup || $(PY) -m tests.again

check: $(VENV)/.installed-dev ## lint, format, types, import arrows
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ty check --python $(VENV)
	@$(VENV)/bin/lint-imports

toolchain: $(VENV)/.installed-dev ## fetch or build every real program the tests use (once, ten minutes)
	@$(PY) -m tests.toolchain build

toolchain-status: $(VENV)/.installed-dev ## say which of them are there, from where, which version
	@$(PY) -m tests.toolchain status

cluster: $(VENV)/.installed-dev ## bring up a real one-node Kubernetes and print its KUBECONFIG (root, Linux)
	@$(PY) -m tests.toolchain up

cluster-demo: $(VENV)/.installed-dev ## the dev stack on it: a Job funded, run and paid, then all taken away (KEEP=1 leaves it up)
	@$(PY) -m tests.e2e.cluster_demo $(if $(KEEP),--keep)

e2e: $(VENV)/.installed-dev ## the checklist and day 2 on a cluster (E2E_KUBECONFIG: yours); the report is dist/e2e/report.html
	@$(PY) -m tests.e2e

cluster-down: $(VENV)/.installed-dev ## end it; nothing of it is left
	@$(PY) -m tests.toolchain down

# docker answers `info` only when its daemon does; podman and buildah need none.
ENGINE ?= $(shell for engine in docker podman buildah; do $$engine info >/dev/null 2>&1 && echo $$engine && break; done)
IMAGE  ?= purpleflea/runtime:0.1.0
TARGET ?= runtime
BASE   ?=
ALLOW_TAG ?=

image: ## build the runtime image (BASE=python image by digest, or ALLOW_TAG=1; ENGINE=docker|podman|buildah IMAGE=name:tag TARGET=runtime|fly)
	@case "$(BASE)$(if $(ALLOW_TAG),@sha256:)" in *@sha256:*) ;; *) echo "make image: name the base by its digest, BASE=python:3.12-slim@sha256:...: whoever may push the tag would be in an image that holds the payer's key; for a sandbox ALLOW_TAG=1 takes the tag on purpose" >&2; exit 2;; esac
	@test -n "$(ENGINE)" || { echo "make image: none of docker, podman and buildah answers; start the docker daemon, install podman or buildah, or name an engine with ENGINE=" >&2; exit 2; }
	$(ENGINE) build --target $(TARGET) --tag $(IMAGE) $(if $(BASE),--build-arg BASE_IMAGE=$(BASE)) --build-arg REVISION=$$(git rev-parse --short HEAD 2>/dev/null || echo unknown) .

bench: $(VENV)/.installed-dev ## measure, side by side with the naive way
	@$(PY) -m tests.bench

simulate: $(VENV)/.installed-render ## what the autoscaler would do with a queue (TRACE=file STACK=name SVG=file HPA='{"maxReplicas": 50}')
	@test -n "$(TRACE)" || { echo "make simulate: name a trace, e.g. TRACE=examples/traces/batch.csv" >&2; exit 2; }
	@$(PY) -m components.autoscaling_sim "$(TRACE)" --stack $(STACK) $(if $(SVG),--svg "$(SVG)") $(if $(HPA),--hpa '$(HPA)')

docs: $(VENV)/.installed-render $(VENV)/.installed-runtime ## write the reference pages in docs/, and Pulumi.yaml, from the code
	@$(PY) -m components.reference
	@$(PY) -m runtime.reference > docs/environment.md
	@$(PY) -m components.reference.project_file > Pulumi.yaml

requirements: ## compile requirements/*.in to hash-pinned *.txt (needs uv)
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/dev.in -o requirements/dev.txt
	@for set in render pulumi runtime; do uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/dev.txt requirements/$$set.in -o requirements/$$set.txt; done
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/render.txt requirements/policy.in -o requirements/policy.txt
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/audit.in -o requirements/audit.txt

clean: ## remove .venv, dist and caches
	@rm -rf $(VENV) dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
