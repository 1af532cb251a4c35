# SPDX-License-Identifier: GPL-2.0
#
# The kernel's build reads Kbuild, not this file. Each target calls one of the scripts in scripts/.

export SUITE SERIES ARCH FLAVOUR KERNEL MODULE JOBS PROFILE BASE

.PHONY: module demo test test-host test-debug test-clients fuzz races mutants mutants-host lint docs \
	kunit bench bench-here shell install deb test-deb patch test-patch litmus clean distclean help

module: ## build wireguard.ko and say where it is (the default)
	@scripts/module.sh

demo: ## boot Debian's kernel with the module and show a tunnel at work
	@scripts/demo.sh

test: ## run every test, or those in TESTS="NAME…"; MODULE=c: with the kernel's own module
	@scripts/test.sh $(TESTS)

test-host: ## test the code that needs no kernel in user space, in seconds
	@scripts/test-host.sh

fuzz: ## fuzz the code that needs no kernel for SECONDS=60, or the parts in FUZZ="NAME…"
	@scripts/fuzz.sh $(or $(SECONDS),60) $(FUZZ)

mutants-host: ## change that code function by function and see if test-host notices; takes hours
	@scripts/mutants-host.sh

lint: ## check the formatting, the scripts, and the code with clippy
	@scripts/lint.sh

docs: ## write what there is into the documents: the names of tests, the picture
	@scripts/buildenv.sh --run sh -c 'scripts/shown-by.py && scripts/architecture-picture.py'

test-debug: ## run the tests on kernels that look for mistakes: kasan and kcsan, or the one in KERNEL
	@status=0; for kernel in $(or $(filter-out stock,$(KERNEL)),kasan kcsan); do \
		KERNEL=$$kernel scripts/test.sh $(TESTS) || status=1; done; exit $$status

test-clients: ## run the tests of NetworkManager, podman and others, on a system with systemd
	@SYSTEM=services scripts/test.sh $(TESTS)

races: ## change everything under traffic for ten minutes, on a kernel that looks for mistakes
	@KERNEL=kasan scripts/boot.sh --timeout 9000 -- env RACES=150 /selftests/robustness/races.sh

mutants: ## break the module in one place at a time and see that the tests notice, or MUTANTS="NAME…"
	@scripts/mutants.sh $(MUTANTS)

kunit: ## run the unit tests
	@KERNEL=kasan scripts/test.sh kunit

bench: ## measure traffic beside the C module, or BENCH="NAME…"; PROFILE=1: by function, too
	@scripts/bench.sh $(BENCH)

bench-here: ## measure both modules on this machine, whose kernel must be one of trixie-backports
	@scripts/bench-here.sh $(OPTIONS)

shell: ## boot Debian's kernel with the module and give a shell in it
	@scripts/boot.sh

install: ## install the module on this machine, for the kernel it was built for
	@scripts/install.sh

deb: ## make Debian packages, for each flavour in FLAVOURS="…" (default: FLAVOUR); see docs/installing.md
	@for flavour in $(or $(FLAVOURS),$(FLAVOUR),''); do FLAVOUR=$$flavour scripts/deb.sh || exit; done

test-deb: ## make them and try them: install, boot, remove, with dkms, where it cannot work
	@scripts/test-deb.sh $(TESTS)

patch: ## make a patch series for the kernel's tree, for KERNEL_SOURCE=FOLDER (default: Debian's source)
	@scripts/patch.sh $(KERNEL_SOURCE)

litmus: ## check the litmus tests of docs/litmus/ with the kernel's memory model; needs herd7
	@scripts/litmus.sh $(TESTS)

test-patch: ## make it and try it: apply, build with and without the option, run KUnit; takes 20 minutes
	@scripts/test-patch.sh $(TESTS)

clean: ## remove what was built from this source; keep the build environment and the kernel
	@scripts/clean.sh

distclean: ## remove everything these targets have made, the cache included
	@scripts/clean.sh --all

help: ## show this
	@echo "make [TARGET] [SUITE=trixie|forky] [ARCH=amd64|arm64] [FLAVOUR=cloud-amd64]"
	@echo
	@sed -n 's/^\([a-z-]*\): ## \(.*\)/\1 \2/p' Makefile | while read -r target text; do printf '  %-13s %s\n' "$$target" "$$text"; done
	@echo
	@echo "SUITE, ARCH and FLAVOUR say which of Debian's kernels to build for and to run on, and SERIES, such as"
	@echo "7.3, where a suite has several; the default of ARCH is this machine's. Everything is kept in"
	@echo "$${XDG_CACHE_HOME:-~/.cache}/wireguard-rs. Each script in scripts/ runs alone, and explains itself with --help."
