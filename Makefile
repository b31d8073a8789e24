# What a person types; each target is one line of work here or one script in scripts/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
BIN := target/release

.PHONY: help build demo test images sbom \
  setup-project tf-apply cloud-build deploy validate create tf-destroy teardown

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

# On Google Kubernetes Engine; scripts/gke/ does the work.

setup-project: ## GKE: enable the APIs, write terraform/terraform.tfvars from gcloud's configuration
	scripts/gke/setup-project.sh

tf-apply: ## GKE: make network, private cluster and bastion
	scripts/gke/tf-apply.sh

cloud-build: ## GKE: test, build and push the images in Cloud Build
	scripts/gke/cloud-build.sh

deploy: ## GKE: copy manifests and scripts to the bastion
	scripts/gke/deploy.sh

validate: ## Run and check the tutorial, on the bastion, or without one where kubectl points
	scripts/gke/validate.sh

create: setup-project ## GKE: all of it in order, from setup-project to validate
	scripts/gke/tf-apply.sh
	scripts/gke/cloud-build.sh
	scripts/gke/deploy.sh
	scripts/gke/validate.sh

tf-destroy: ## GKE: destroy all that tf-apply made
	scripts/gke/tf-destroy.sh

teardown: ## GKE: delete the demo, and destroy the cluster whatever comes of that
	scripts/gke/teardown.sh
