# Pipeline-X. Each target calls one script or px; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BUILD := build/release
PX := $(BUILD)/bin/px
PORT ?= 8501
COUNT ?= 600
export JOBS

ENV ?= staging
PROFILE ?= minimal
export ENV

.PHONY: help run stop up down logs setup build test crash bench package docker-build docker-up docker-down docker-logs docker-test \
        infra-init infra-plan infra-up infra-down infra-env infra-test fmt lint clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 26

run: build ## install what is missing, build, run the example, serve it on 127.0.0.1:8501 (PORT=…)
	@tools/run_example.sh $(PX) $(PORT)

stop: ## stop what `make run` serves
	@tools/run_example.sh --stop

up: run ## the same as `make run`

down: stop ## the same as `make stop`

logs: ## what `make run` logs, as it comes
	@test -e build/log/serve.log || { echo "logs: nothing has been served yet; next: make run" >&2; exit 1; }
	@tail -n 50 -F build/log/serve.log

setup: ## install what building needs, no more
	@tools/setup.sh build

build: setup ## build px (build/release/bin/px; JOBS=… limits the compilers)
	@tools/build.sh release px

test: ## install what the tests need, build and run them all (TESTS="unit e2e" for some)
	@tools/setup.sh test
	@tools/build.sh release all
	@build/venv-test/bin/python tests/run.py $(BUILD) $(TESTS)

crash: ## px killed, power lost, disk full or broken: COUNT cases of each (600; 5000 takes hours)
	@tools/setup.sh test
	@tools/build.sh release px
	@build/venv-test/bin/python tests/run.py $(BUILD) --count $(COUNT) crash

bench: ## our figures beside the peers', in one run (BENCH="chunk search_http" for some)
	@tools/setup.sh bench
	@tools/build.sh release all
	@build/venv-test/bin/python bench/run.py $(BUILD) $(BENCH)

package: build ## build/package/: a relocatable tarball and a Debian package
	@tools/setup.sh package
	@python3 tools/package/package.py $(BUILD) build/package

docker-build: package ## the image localhost/px, from the tarball
	@tools/docker.sh build

docker-up: ## start deploy/docker-compose.yml (PROFILE=minimal or full)
	@tools/docker.sh up $(PROFILE)

docker-down: ## stop it; volumes stay
	@tools/docker.sh down

docker-logs: ## what its services log
	@tools/docker.sh logs

docker-test: ## build tarball, package and image, run the example from each on a bare Debian 12
	@$(MAKE) --no-print-directory test TESTS=delivery

infra-init: ## Terraform for Azure: providers and state (docs/infrastructure.md)
	@tools/infra.sh init

infra-plan: ## what would change on Azure (ENV=staging or prod)
	@tools/infra.sh plan

infra-up: ## create or change it
	@tools/infra.sh up

infra-down: ## destroy it
	@tools/infra.sh down

infra-env: ## write build/infra-ENV.env (mode 0600) for px from outputs and vault
	@tools/infra.sh env

infra-test: ## check infra/ offline with the real provider (first time: 8 minutes, 9 GB of disk)
	@tools/setup.sh infra
	@build/venv-infra/bin/python infra/tests/check.py

fmt: ## format the C++ sources
	@tools/setup.sh lint
	@git ls-files '*.h' '*.cpp' | xargs clang-format -i

lint: ## formatting, include ranks, clang-tidy
	@tools/setup.sh lint
	@git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run --Werror
	@python3 tools/check_includes.py
	@tools/build.sh release tidy

clean: ## remove what building made (the cache of pinned parts stays)
	@rm -rf build
	@rm -f .deps
