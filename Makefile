# Pipeline-X. Each target calls one script or px; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BUILD := build/release
PX := $(BUILD)/bin/px
PORT ?= 8501
COUNT ?= 600
export JOBS

.PHONY: help run stop setup build test crash bench fmt lint clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 16

run: build ## install what is missing, build, run the example, serve it on 127.0.0.1:8501 (PORT=…)
	@tools/run_example.sh $(PX) $(PORT)

stop: ## stop what `make run` serves
	@tools/run_example.sh --stop

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
