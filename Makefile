# A thin front for CMake and the scripts in tools/. `make help` lists what there is.

SECONDS ?= 60
MINUTES ?= 60
KILLS ?= 200
SEEDS ?= 1000

.DEFAULT_GOAL := help
.PHONY: help demo test bench fuzz soak lint format cover clean setup build

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: build ## a whole network on this machine: deploy a program, use it, verify a receipt
	@tools/demo

test: build ## build and run every test; the last line is "N passed, N failed, N skipped"
	@tools/run-tests build/release

bench: build ## measure against the bars of DESIGN, as ratios in one run
	@bench/run

fuzz: ## run each fuzz target for a while: make fuzz SECONDS=600
	@tools/setup fuzz
	@tools/build fuzz
	@tools/run-fuzz $(SECONDS)

soak: build ## kill real processes under load, then simulate: make soak MINUTES=60 KILLS=200 SEEDS=1000
	@tools/soak $(MINUTES) $(KILLS) $(SEEDS)

lint: ## formatting, static analysis, layers, shell scripts
	@tools/setup lint
	@tools/lint

format: ## rewrite our C files in the house format
	@tools/setup lint
	@tools/lint --format

cover: ## line coverage of the tests, per module
	@tools/setup cover
	@tools/build coverage
	-@tools/run-tests build/coverage
	@gcovr --root . --object-directory build/coverage --filter src/ --exclude '.*(_test\.c|testing\.h)' --sort-percentage

clean: ## remove build/ (the Rust libraries stay in the cache)
	rm -rf build

setup:
	@tools/setup

build: setup
	@tools/build release
