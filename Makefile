# make run    runs bpftrace's runtime tests on three kernels
# make test   runs everything that CI runs
# make bench  measures kiln against a bare boot; BENCH="--rounds 9" sets options
# make parity compares every verdict with upstream's own engine; takes hours;
#             PARITY="--kernel 6.1 -t '^call\.' --resume" sets options
# make check-pages  opens report.html in Debian's chromium: filters, keyboard, a hostile guest, size, speed
# make check-btf  compares `kiln btf check` with what all kernels of kernels.toml say of the test objects
# make check-kernels  builds kernels as bpftrace, cilium, drgn and little-vm-helper do, and runs the smoke tests on each
# make check-busy  runs the smoke selection beside busy programs: no verdict may differ from an idle host's
# make check-debugging  opens a failing test, a panic and a hang with gdb, crash and drgn
# make check-ci  builds Debian's bpftrace by `kiln ci` and Nix, and runs its tests
# make fuzz   looks for input that crashes a parser, FUZZ_SECONDS for each
#
# run and test work on a fresh Debian 12 or 13 with a Rust toolchain. They list missing
# packages and install them, which is the only step that needs root.

# rustup's directory is not always in the PATH of a fresh login or a CI job, and Debian's bpftool
# not in that of an ordinary user.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

# Where bpftrace's runtime tests are built; kernels.toml names it too.
BPFTRACE_DIR := target/bpftrace
# Names, globs or groups of kernels.toml: `make run KERNELS="6.1 7.*"`.
KERNELS ?= @quick
# The selection, as one argument of `kiln run -t`: `make run SMOKE='^call\.'`.
SMOKE ?= $(shell grep -v '^\#' tests/data/smoke.filter | paste -s -d :)
# How long each fuzz target runs.
FUZZ_SECONDS ?= 20

.PHONY: help run test bench parity fuzz check-pages check-btf check-kernels check-busy check-debugging check-ci packages bpftrace tiny-kernel
# The steps share cargo's and apt's locks, so -j gains nothing.
.NOTPARALLEL:

help:
	@sed -n 's/^# make /make /p' Makefile

run: packages bpftrace
	cargo build --profile quick --locked --bin kiln
	cargo run --profile quick --locked --quiet --bin kiln -- run $(foreach k,$(KERNELS),-k '$k') -t '$(SMOKE)' bpftrace

# The end-to-end tests boot VMs. They need the packages, bpftrace's tests and a tiny
# kernel, and fetch their other kernels into the user's cache.
test: packages bpftrace tiny-kernel
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	KILN_GUEST_INIT=/bin/true cargo clippy --manifest-path fuzz/Cargo.toml --no-default-features --target-dir target --locked -- -D warnings
	cargo test --workspace --locked

bench: packages bpftrace
	cargo bench --locked --package kiln --bench speed -- $(BENCH)

parity: packages bpftrace
	cargo bench --locked --package kiln --bench parity -- $(PARITY)

check-pages: packages
	@command -v chromium >/dev/null || { echo 'check-pages: install chromium first' >&2; exit 1; }
	cargo build --release --locked
	scripts/check-pages target/release/kiln $(PAGES)

check-btf: packages
	cargo build --release --locked
	scripts/check-btf target/release/kiln

check-kernels: packages bpftrace
	cargo build --release --locked
	scripts/check-kernels target/release/kiln $(KINDS)

check-busy: packages bpftrace
	cargo build --release --locked
	scripts/check-busy target/release/kiln $(BUSY)

check-debugging: packages
	@command -v crash >/dev/null && command -v drgn >/dev/null || { echo 'check-debugging: install crash, and drgn from PyPI, first' >&2; exit 1; }
	cargo test --locked --test end_to_end -- --ignored debugging:: --test-threads 1

check-ci: packages bpftrace
	cargo test --locked --test end_to_end -- --ignored ci_nix:: --nocapture

fuzz: packages
	@scripts/fuzz $(FUZZ_SECONDS)

packages:
	@scripts/install-packages

# Built once, and kept in the user's cache.
tiny-kernel: packages
	@scripts/build-tiny-kernel

bpftrace: packages
	@scripts/fetch-bpftrace $(BPFTRACE_DIR)
