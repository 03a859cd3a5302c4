# Every target works on the one product module; go.work is for editors and for the scenarios in e2e.
export GOWORK := off

LINT      := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
PACKAGES  ?= ./...
FUZZTIME  ?= 20s
BENCHTIME ?= 1s

.DEFAULT_GOAL := help
.PHONY: help run build demo test race lint check fuzz bench

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build demo ## start the whole system in one process with the demo functions
	bin/sluice local deploy/demo/manifests

build: ## build bin/sluice
	go build -o bin/sluice ./services/local/cmd/sluice

demo: ## build the demo functions into bin/demo
	@mkdir -p bin/demo
	go build -o bin/demo/ ./deploy/demo/...

test: ## run all tests
	go test -count=1 -timeout 10m $(PACKAGES)

race: ## run all tests under the race detector
	go test -race -count=1 -timeout 15m $(PACKAGES)

lint: ## run golangci-lint in the pinned version (the first time builds it)
	$(LINT) run $(PACKAGES)

check: ## what must hold before a push: format, vet, modules, macOS, lint
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
		if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go mod tidy -diff
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
