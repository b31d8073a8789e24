# What a person types; each target is one line of work here or one script in scripts/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
BIN := target/release

.PHONY: help build demo test images sbom

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build hello-server, hello-client, hello-lab and netpol into target/release
	@scripts/require-tools.sh cargo cc
	$(CARGO) build --release --locked

demo: ## Run the whole tutorial on this machine, and leave nothing behind
	@scripts/require-tools.sh cargo cc kubectl
	$(CARGO) build --release --locked
	$(BIN)/hello-lab run -- scripts/validate.sh

test: ## Run every test that needs no cloud account
	@scripts/require-tools.sh cargo cc kubectl
	scripts/test.sh

images: ## Build the images hello-server, hello-client and netpol with Docker
	@scripts/require-tools.sh docker
	scripts/build-images.sh

sbom: ## Write a software bill of materials for each image to target/sbom
	scripts/make-sboms.sh
