# Pipeline-X. Each target calls one script or px; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BUILD := build/release
PX := $(BUILD)/bin/px
JOBS ?= $(shell nproc)
PORT ?= 8501

.PHONY: help run build test bench fmt lint clean setup stop

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 16

run: build ## install what is missing, build, run the example, serve it on 127.0.0.1:8501
	@tools/run_example.sh $(PX) $(PORT)

stop: ## stop what `make run` serves
	@tools/run_example.sh --stop

build: ## build px (build/release/bin/px)
	@tools/setup.sh build
	@tools/build.sh release px

test: ## install what the tests need, build and run them all
	@tools/setup.sh test
	@tools/build.sh release all
	@build/venv-test/bin/python tests/run.py $(BUILD) $(TESTS)

bench: ## our figures beside the peers', in one run
	@tools/setup.sh bench
	@tools/build.sh release all
	@build/venv-reference/bin/python bench/run.py $(BUILD) $(BENCH)

fmt: ## format the C++ sources
	@tools/setup.sh lint
	@git ls-files '*.h' '*.cpp' | xargs clang-format -i

lint: ## formatting, include ranks, clang-tidy
	@tools/setup.sh lint
	@git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run --Werror
	@python3 tools/check_includes.py
	@tools/build.sh release tidy

clean: ## remove what building made (the cache of pinned parts stays)
	@rm -rf build web/dist
	@rm -f .deps
