# Two commands do all the set-up: `make demo` runs the main job, `make test` passes the tests.
# Both install into .venv/ the first time and reuse it afterwards.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# A worker takes whole files: what a file's tests share is made once. There is one more of them
# than cores, for many tests wait for servers and processes; and files are taken in their order,
# so that those of few but long tests are not left to the end.
PARALLEL := --numprocesses $(shell $(PYTHON) -c "import os; print(1 + os.cpu_count())") \
	--dist loadfile --no-loadscope-reorder

# Of the benchmark of optimisers: one made landscape after the other, then real networks.
LANDSCAPES := smooth basins ridge corners wide digits

# What the installed package is built from. Python files of engine/ and plugins/ are used in
# place (an editable install), so only these make a new build necessary.
BUILT_FROM := pyproject.toml Cargo.toml Cargo.lock \
	$(shell find native -name '*.rs' -o -name Cargo.toml -o -name '*.py')

.DEFAULT_GOAL := help
.PHONY: help licences docs site docs-pictures install parity demo demo-proof bench-methods bench-optimisers bench-merge bench-cuda test test-cuda test-slow test-windows test-aarch64 soak lint format clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/'

$(VENV)/installed: $(BUILT_FROM)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# Scripts that old pips write import re, which takes longer than bmerge --version.
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

install: $(VENV)/installed ## set up .venv/ with bmerge and its tools

demo: install ## optimise a merge of the embedded models; ends with a report
	$(BIN)/bmerge run examples/demo.yaml

demo-proof: install ## the demo's result on pictures and seeds that the search never saw
	$(BIN)/python -m benchmarks.demo_proof

bench-methods: install ## every merge method on the demo: quality, time and memory
	$(BIN)/python -m benchmarks.methods

runs/demo/report.html: | install
	$(BIN)/bmerge run examples/demo.yaml

bench-optimisers: install runs/demo/report.html ## what each optimiser finds, by pictures painted; choose with BENCH="--optimiser … --jobs …"
	$(BIN)/bmerge bench optimisers $(LANDSCAPES:%=--landscape %) --replay runs/demo \
		--first-seed 100 --out runs/bench-optimisers $(BENCH)
	cp runs/bench-optimisers/optimisers.md runs/bench-optimisers/optimisers.svg benchmarks/results/

bench-merge: install ## time and memory of full-size merges; choose with BENCH="--work … --model …"
	$(BIN)/python -m benchmarks.merge $(BENCH)

test: install ## the tests, Python and Rust
	cargo test --quiet --package bmerge-core
	$(PYTEST) $(PARALLEL) -m "not slow and not soak"

test-cuda: install ## the tests that need a GPU, in five minutes at most
	timeout 300 $(PYTEST) -m cuda tests/executors

bench-cuda: install ## merges by a GPU, from file to file and live, in five minutes at most
	@if $(BIN)/python -c "from bmerge.executors import SystemProbe as P; exit(not P().memory('cuda'))"; then \
		timeout 200 $(BIN)/python -m benchmarks.merge --who cuda,native --work weighted_sum,ties \
			--rounds 3 --output benchmarks/results/cuda.md && \
		timeout 100 $(BIN)/python -m benchmarks.live --device cuda --rounds 5 \
			| tee -a benchmarks/results/cuda.md; \
	else echo "there is no CUDA device: nothing is measured"; fi

test-slow: install ## the long tests too: twenty kills of a study
	$(PYTEST) -m "not soak"

soak: install ## kills, failing servers, full disks and fuzzing, for hours; writes its table
	$(PYTEST) -m soak tests/soak tests/formats/test_quantised_hostile.py $(SOAK)

test-windows: ## the core's tests for Windows under Wine, and the extension built for it
	native/cross/test.sh windows

test-aarch64: ## the core's tests for ARM under QEMU, and the extension built for it
	native/cross/test.sh aarch64

licences: ## write native/LICENSES.txt, the licences of the crates in the extension
	$(PYTHON) native/packaging/licences.py

docs: install ## write docs/methods.md and docs/methods/ from the methods' docstrings
	$(BIN)/python docs/methods.py

site: install ## the documentation as a site in dist/site, without a network; every link is checked
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs dist/site

docs-pictures: install ## paint missing pictures of docs/methods/; PICTURES="NAME …" or all for others
	$(BIN)/python docs/pictures.py $(PICTURES)

parity: install ## our merge methods beside sd-meh, sd-mecha and mergekit, in float32 and fp16
	$(BIN)/python -m benchmarks.parity

lint: install ## ruff, mypy --strict, clippy, rustfmt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings

format: install ## rewrite the sources in the common style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cargo fmt --all

clean: ## remove what was built (not .venv/)
	cargo clean
	rm -rf dist .pytest_cache .mypy_cache .ruff_cache
