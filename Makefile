# Everything people do here. `make run` shows the main job, `make test` passes the tests.

CARGO ?= cargo
KUBECTL ?= kubectl
IMG ?= ghcr.io/werf/werf-operator:v0.1.0
# `release` builds the programs in the cluster as they are shipped.
PROFILE ?= dev

# Always the whole workspace: a package alone is built with other features, and so built again.
TESTBED = $(or $(CARGO_TARGET_DIR),target)/debug/testbed
REGISTRY_TESTS = $(CARGO) test --workspace --features werf-tests/cluster --test registries
CLUSTER_TESTS = $(CARGO) test --workspace --features werf-tests/cluster --test cluster -- --test-threads=32
FAULT_TESTS = $(CARGO) test --workspace --features werf-tests/cluster --test faults -- --nocapture

export PROFILE
# Where the installers of Rust and Go put them, for shells that were not told.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/go/bin

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 22

.PHONY: run
run: testbed ## Show the operator's main job on a local cluster, and leave the cluster running
	$(TESTBED) run

.PHONY: stop
stop: testbed ## Stop the local cluster
	$(TESTBED) down

.PHONY: test
test: testbed ## Run all tests, those on a real cluster included
	$(CARGO) test --workspace --lib --bins --tests
	$(CARGO) test --workspace --lib helm -- --ignored
	cd tests/werf-stand-in && go test ./...
	$(REGISTRY_TESTS)
	$(TESTBED) --instance werf-operator-faults with -- $(FAULT_TESTS)
	$(TESTBED) --instance werf-operator-test with --canaries -- $(CLUSTER_TESTS)

.PHONY: faults
faults: testbed ## Kill the executor and break its requests at every write it makes
	$(TESTBED) --instance werf-operator-faults faults

.PHONY: bench
bench: bench-poll bench-converge bench-deploy ## Measure everything, with the programs as they are shipped

.PHONY: bench-poll
bench-poll: prerequisites ## Measure what polling costs, against a bare HTTP client
	$(CARGO) build --release --package werf-poller --package werf-tests --bin poller --bin bench-poll
	$(or $(CARGO_TARGET_DIR),target)/release/bench-poll

.PHONY: bench-converge
bench-converge: prerequisites ## Measure what turning tags into Jobs costs, against a bare client of the apiserver
	$(CARGO) build --release --package werf-poller --package werf-executor --package werf-tests \
		--bin poller --bin executor --bin bench-converge
	$(or $(CARGO_TARGET_DIR),target)/release/bench-converge

.PHONY: bench-deploy
bench-deploy: export PROFILE = release
bench-deploy: testbed ## Measure how quickly a new tag is deployed
	$(TESTBED) --instance werf-operator-bench bench

.PHONY: lint
lint: prerequisites ## Check formatting, lints, generated files and the borders between the parts
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features werf-tests/cluster -- -D warnings
	tests/check-borders
	cd tests/werf-stand-in && test -z "$$(gofmt -l .)" && go vet ./...

.PHONY: build
build: ## Build poller and executor as they are shipped, into target/release
	$(CARGO) build --release --package werf-poller --package werf-executor

.PHONY: manifests
manifests: ## Generate crds/ and the code of the gRPC contract anew
	REGENERATE=1 $(CARGO) test --package werf-shared --test crd_yaml
	REGENERATE=1 $(CARGO) test --package werf-proto --test bootstrap

.PHONY: install
install: ## Install the CRD into the cluster of the current kubeconfig
	$(KUBECTL) apply --server-side -f crds/

.PHONY: deploy
deploy: ## Install the operator into the cluster of the current kubeconfig: make deploy IMG=…
	$(KUBECTL) kustomize deploy/base | sed 's|image: ghcr.io/werf/werf-operator:.*|image: $(IMG)|' | $(KUBECTL) apply -f -

.PHONY: undeploy
undeploy: ## Remove the operator again; refuses while there are bundles
	@test -z "$$($(KUBECTL) get werfbundles --all-namespaces --output name)" || { \
		echo "There are bundles, and only the operator can take leave of them. Delete them first:"; \
		$(KUBECTL) get werfbundles --all-namespaces; exit 1; }
	$(KUBECTL) kustomize deploy/base | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: local-test
local-test: testbed ## Run only the tests on a real cluster, and leave the cluster running
	$(TESTBED) --instance werf-operator-test up
	$(TESTBED) --instance werf-operator-test with --canaries -- $(CLUSTER_TESTS)

.PHONY: cleanup-test-local
cleanup-test-local: testbed ## Stop the cluster that local-test left running
	$(TESTBED) --instance werf-operator-test down

.PHONY: testbed
testbed: prerequisites
	$(CARGO) build --workspace --bins

.PHONY: prerequisites
prerequisites:
	@tests/install-prerequisites
