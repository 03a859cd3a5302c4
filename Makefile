# Every target works on the one product module; go.work is for editors and for the scenarios in e2e.
export GOWORK := off

LINT      := $(CURDIR)/bin/golangci-lint
PACKAGES  ?= ./...
FUZZTIME  ?= 20s
BENCHTIME ?= 1s
# TAG is that of the images.
TAG       ?= dev

# Tools, built into bin/ once: Kubernetes and what belongs to it for the tests, and the linter. The version of Kubernetes is that of e2e/kube/go.mod.
KUBE_MAJOR      := 1
KUBE_MINOR      := 34
KUBE_VERSION    := v$(KUBE_MAJOR).$(KUBE_MINOR).10
HELM_VERSION    := v3.22.0
COREDNS_VERSION := v1.12.4
LINT_VERSION    := v2.15.0

.DEFAULT_GOAL := help
.PHONY: help run build demo images tools test race lint check fuzz bench e2e

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build demo ## start the whole system in one process with the demo functions
	bin/sluice local deploy/demo/manifests

build: ## build bin/sluice
	go build -o bin/sluice ./services/local/cmd/sluice

demo: ## build the demo functions into bin/demo
	@mkdir -p bin/demo
	go build -o bin/demo/ ./deploy/demo/...

images: ## build the images into bin/images, without Docker (TAG=dev)
	go run ./scripts/images -tag $(TAG) -demo

# Tests keep what they store in memory: a disk that is slow for a moment is not what they are about.
IN_MEMORY := $(CURDIR)/scripts/memory.sh

# The packages of e2e that need no root: the chart, the permissions of the NATS users, the control plane.
test: bin/kube bin/helm ## run all tests that need no root and no cluster
	$(IN_MEMORY) go test -count=1 -timeout 15m $(PACKAGES)
	cd e2e && $(IN_MEMORY) go test -count=1 -timeout 15m ./chart ./natsperm ./cluster ./function ./tour ./grpc

race: bin/kube bin/helm ## the same under the race detector
	$(IN_MEMORY) go test -race -count=1 -timeout 20m $(PACKAGES)
	cd e2e && $(IN_MEMORY) go test -race -count=1 -timeout 15m ./chart ./natsperm ./cluster ./function ./tour ./grpc

e2e: bin/kube bin/pause bin/coredns bin/helm ## run the scenarios on a real node (root), or on the cluster of KUBECONFIG
	go run ./scripts/images -tag $(TAG) -nats -demo
	cd e2e && go run ./pack
	go test -c -o bin/kube-conformance.test ./services/scaler/kube
	go test -c -o bin/job-conformance.test ./services/jobrunner/kube
	sync # what was built is on disk, so that the scenarios have the disk for themselves
	cd e2e && SLUICE_E2E_REQUIRED=1 go test -count=1 -v -timeout 50m .

tools: bin/kube bin/pause bin/helm bin/coredns bin/golangci-lint ## build what the tests and the linter need, which takes some minutes

bin/kube: $(shell find e2e/kube -name '*.go' -o -name 'go.*' -o -path '*/node/config/*' -type f)
	cd e2e/kube && CGO_ENABLED=0 go build -trimpath -o ../../bin/kube -ldflags "-s -w $(foreach package,k8s.io/component-base/version k8s.io/client-go/pkg/version, \
		-X $(package).gitVersion=$(KUBE_VERSION) -X $(package).gitMajor=$(KUBE_MAJOR) -X $(package).gitMinor=$(KUBE_MINOR))" .

bin/pause: e2e/kube/pause/main.go
	cd e2e/kube && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o ../../bin/pause ./pause

bin/helm: Makefile
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION)
	@touch $@

bin/coredns: Makefile
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 go install github.com/coredns/coredns@$(COREDNS_VERSION)
	@touch $@

bin/golangci-lint: Makefile
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@touch $@

lint: bin/golangci-lint ## run golangci-lint in the pinned version
	$(LINT) run $(PACKAGES)
	cd e2e && $(LINT) run --config ../.golangci.yml ./...

check: ## what must hold before a push: format, vet, modules, macOS, lint
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
		if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go mod tidy -diff
	cd e2e && go vet ./... && go mod tidy -diff
	cd e2e/kube && CGO_ENABLED=0 go vet -trimpath ./... && go mod tidy -diff
	GOOS=darwin CGO_ENABLED=0 go vet ./...
	$(MAKE) --no-print-directory lint

# go test fuzzes one target of one package at a time.
fuzz: ## run each fuzz target for FUZZTIME (20s)
	@git grep --untracked -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' ':!e2e' | while IFS=: read -r file target; do \
		name=$${target#func }; \
		echo "== $$name in $$(dirname $$file)"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || exit 1; \
	done

bench: ## run the benchmarks, then the ratios beside bare implementations
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(PACKAGES)
	go run ./scripts/bench
