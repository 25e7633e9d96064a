# `make` lists the targets.

# The guest's kernel: a series, of which fixtures/guest/kernels.txt has some, or a release.
KERNEL ?= 6.12
# How many times as much as in `make test` is done by `make torture`.
TIMES ?= 10
# What `make regress` compares with.
BASE ?= main
# The trials of kernel against FUSE that measure.
MEASURING = test(/^kernel_vs_fuse::(insertion|[a-z]+_search)$$/)
# What the adversary does for minutes on an emulated CPU, and changes that are killed beside long searches;
# `make adversary` and `make validate` play them.
LONG_ACTS = test(/^module::(adversary_(attaches_at_extremes|is_killed_.*|overwrites_all_rows)|killed_changes_wait_for_no_search)$$/)
TORTURE = test(/^(fuse|module)::(pjdfstest|fsx|fuzzed_requests|walks_as_tmpfs_does|adversary_.*|changed_rows_.*)$$/)
# The engine's random sequences and the simulation of the rule need no mount: they are played on the host
# alone.
SEQUENCES = package(vexfs-anns) and binary(model) or test(/^simulated_/)

# Tests of a change are content with the first look at each ratio; `make validate` takes all.
FIRST_LOOK := VEXFS_VALIDATION_LOOKS=1

export PATH := $(CURDIR)/.cache/tools/bin:$(CURDIR)/.cache/venv/bin:$(PATH)
export RUFF_CACHE_DIR := $(CURDIR)/target/ruff
# The trial that cuts a guest's power boots one of its own.
export VEXFS_KERNEL := $(KERNEL)
# Built together, for the same features in each.
RELEASES := -p vexfs-fuse -p vexfs-bench -p vexctl -p saboteur-daemon
# Where cargo builds, which a user's configuration may have elsewhere.
BUILT := $(or $(shell cargo metadata --no-deps --offline --format-version 1 2>/dev/null | \
  sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'),target)
VALIDATE := $(BUILT)/debug/vexfs-validate
SETUP := fixtures/guest/setup.sh
SCRIPTS := .ci/run fixtures/gate/kernel-hook $(wildcard fixtures/gate/*.sh fixtures/package/*.sh \
  fixtures/guest/*.sh fixtures/guest/setup/*.sh fixtures/peers/*.sh \
  fixtures/foreign/*.sh fixtures/foreign/modules/*/*.sh \
  fixtures/saboteurs/module/*.sh \
  fixtures/vexfs/kernel/*.sh docs/ci/*.sh)

# What CI shows; it is kept, and wanted most, where tests failed.
JUNIT := target/junit
LANES := target/lanes
IN_GUEST := target/guest/criteria
DECIDING := target/guest/deciding
keep_junit = code=$$?; mkdir -p $(JUNIT); cp $(1) $(JUNIT)/$(2).xml || test $$code -ne 0 || exit; exit $$code

# Two lists of phases at once: what the first says is kept, and shown when both are over. What is started
# beside does not hear Ctrl-C: it is told.
define beside
@mkdir -p $(LANES); log=$(LANES)/$(firstword $(1)).log; \
$(MAKE) --no-print-directory $(1) >$$log 2>&1 & one=$$!; \
$(MAKE) --no-print-directory $(2) & other=$$!; \
trap 'kill $$one $$other 2>/dev/null' INT TERM; \
wait $$other; code=$$?; wait $$one || code=$$?; wait; cat $$log; exit $$code
endef

# Announces a phase, and so tells how long the one before it took.
ifndef STARTED
export STARTED := $(shell date +%s)
endif
begin = @echo "== $@, $$(($$(date +%s) - $(STARTED))) s after the start"

# HOST=container runs these in a container of Debian 13, on any Linux with podman or docker. In the environment
# HOST may be the machine's name, which means nothing here.
HOST ?= native
CONTAINED := validate test setup build matrix adversary sabotage sanitize torture
OTHERS := build-releases build-harness build-module lint-and-build lint lint-rust lint-module \
  test-lanes test-host test-two-lanes test-deciding test-guest test-two-guests test-module \
  test-others test-evidence test-sabotage fuzz-daemon stretches foreign foreign-daemons \
  foreign-modules second-judge clock regress hosts bench bench-engine bench-homes bench-setup \
  memcheck gate-hooks test-hooks upgrades package test-package clean distclean
ifeq ($(origin HOST),command line)
ifeq ($(filter container native,$(HOST)),)
$(error HOST=$(HOST) is neither container nor native)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help $(CONTAINED) $(OTHERS)
# Phases come in the order in which they are named, whatever -j says: they measure.
.NOTPARALLEL:

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@echo '  KERNEL=6.1 (or any series or release) boots another kernel than $(KERNEL)'
	@echo '  HOST=container runs $(CONTAINED) in a container of Debian 13 (podman or docker)'

ifeq ($(HOST),container)
# What the command line sets is after `-- ` in MAKEFLAGS, quoted for the make in the container. After Ctrl-C make
# waits for what it has started, and not for children of that: hence `exec`.
$(CONTAINED):
	@flags=; case "$$MAKEFLAGS" in *'-- '*) flags="-- $${MAKEFLAGS#*-- }" ;; esac; \
	exec fixtures/guest/container.sh env MAKEFLAGS="$$flags" make $@ HOST=native
$(OTHERS):
	@echo 'make $@ knows no HOST=container; these do: $(CONTAINED)' >&2; exit 2
else

validate: setup build ## prove VexFS: host, VM, verdict (exit code 0: all criteria PASS)
	$(begin)
	$(VALIDATE) run --kernel $(KERNEL)

test: setup lint-and-build test-lanes test-evidence ## everything that must pass before a change lands

setup: ## install what is missing (says what; needs no network where all is there)
	$(begin)
	@$(SETUP) --kernel $(KERNEL)

# The programs under test are release builds, and the module is built by Kbuild. The harness is a
# development build, optimised as well. The module is built once more, for tests, with allocations
# that can be made to fail. The harness is built as the tests are, with their features: what
# follows, in the guest too, finds it and compiles nothing twice.
build: ## build VexFS in its three homes, and the harness
	$(call beside,$(IN_HOMES),build-harness)

# The last steps of a release build and of a kernel module are one processor's work, and cargo locks
# what it builds for releases apart from the rest: so this is one list, and the harness the other.
IN_HOMES := build-module build-releases

# What clippy checks and the harness are in one directory, which cargo locks.
lint-and-build:
	$(call beside,lint-module $(IN_HOMES),lint-rust build-harness)

build-releases:
	$(begin)
	cargo build --locked --release $(RELEASES)

build-harness:
	$(begin)
	cargo test --locked --no-run

build-module:
	$(begin)
	fixtures/vexfs/kernel/build.sh --kernel "$$($(SETUP) --release $(KERNEL))"
	fixtures/vexfs/kernel/build.sh --kernel "$$($(SETUP) --release $(KERNEL))" --fault-injection

lint: ## check formats, clippy, the module's C and objects, shell and Python
	$(call beside,lint-module,lint-rust)

lint-rust:
	$(begin)
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings

lint-module:
	$(begin)
	shellcheck -x $(SCRIPTS)
	ruff check --quiet fixtures
	ruff format --check --quiet fixtures
	fixtures/vexfs/kernel/build.sh --kernel "$$($(SETUP) --release $(KERNEL))" --check
	fixtures/vexfs/kernel/build.sh --kernel "$$($(SETUP) --release $(KERNEL))" --check --fault-injection

test-host: ## unit tests and the host's criteria
	$(begin)
	$(VALIDATE) list --check
	@rm -f target/nextest/ci/junit.xml $(JUNIT)/host.xml
	$(FIRST_LOOK) cargo nextest run --locked --profile ci; \
	  $(call keep_junit,target/nextest/ci/junit.xml,host)

# What `make test` leaves out. On an emulated CPU some forty trials take most of the time of all the guest's
# criteria, some of them minutes each: there they are left to `make test-guest` and `make validate`. The host
# plays FUSE's natively, but for the two that load the module.
LEFT_OUT ?= none()

# An emulated guest keeps one processor busy, for minutes, whose trials load the module: they come one
# after the other. So two lanes have two processors. Counting instructions is disturbed by nothing, and
# what is left of the guest's trials measures no time; nor do the quick saboteurs, which make the two lists
# about equally long. On KVM what decides is a measurement of wall time, and all of them come in turn.
test-lanes:
	@if [ "$$($(VALIDATE) doctor --accelerator)" = tcg ]; then \
	  $(MAKE) --no-print-directory test-two-lanes; \
	else $(MAKE) --no-print-directory test-deciding test-host test-sabotage test-module test-others; fi

test-two-lanes: export LEFT_OUT = $(shell $(VALIDATE) list --long)
test-two-lanes:
	$(call beside,test-module test-deciding test-sabotage,test-host test-others)

test-guest: ## the guest's criteria
	@if [ "$$($(VALIDATE) doctor --accelerator)" = tcg ]; then \
	  $(MAKE) --no-print-directory test-two-guests; \
	else $(MAKE) --no-print-directory test-module test-others; fi

test-two-guests:
	$(call beside,test-module,test-others)

# A guest for the module, since each of its trials has the guest for itself.
test-module:
	$(call in_guest,guest-module,$(IN_GUEST)-module,binary(module) and not ($(LONG_ACTS) or ($(LEFT_OUT))),--detectors)

test-others:
	$(call in_guest,guest-others,$(IN_GUEST)-others,not (binary(module) or $(MEASURING) or ($(LEFT_OUT))))

# Runs trials in a guest: the name of its JUnit file, the evidence, which trials, and how to boot.
define in_guest
$(begin)
@rm -rf $(JUNIT)/$(1).xml $(2)
$(VALIDATE) guest --kernel $(KERNEL) $(4) --evidence $(2) -- \
  env $(FIRST_LOOK) cargo nextest run --profile vm -E '$(3)'; \
  $(call keep_junit,$(2)/junit.xml,$(1))
endef

# Without KVM guest instructions decide, which no other work on the machine changes.
test-deciding: ## kernel against FUSE, in a guest of its own
	$(call in_guest,deciding,$(DECIDING),$(MEASURING),--clock deciding)

# The schema of the evidence is held against what real trials wrote.
test-evidence:
	$(begin)
	VEXFS_VALIDATION_RUNS=$(IN_GUEST)-module:$(IN_GUEST)-others:$(DECIDING) \
	  cargo nextest run --locked -E 'binary(real_evidence)'

# What finds a saboteur among the criteria in seconds; `make sabotage` does all.
QUICK = test(/^sabotage::(evidence|fuse|dataset)::/) and not \
  test(/mounts_late|never_mounts|hangs_in_read|hears_no_signals|holds_searches_up|reads_directories_for_ever|forgets_handles/)
SABOTEURS ?= not test(/sabotage::sanitizer::/)
test-sabotage: ## the saboteurs that are found in seconds
	$(begin)
	cargo nextest run --locked --profile sabotage --test sabotage -E '$(QUICK)'

# Each seed is a part of criterion 1, on a daemon that answers anything (SEEDS=FIRST..LAST).
SEEDS ?= 0..200
fuzz-daemon: ## no FUSE daemon, whatever it answers, ends or hangs the criterion
	$(begin)
	cargo build --locked --release -p vexfs-fuse -p saboteur-daemon
	VEXFS_VALIDATION_SEEDS=$(SEEDS) cargo nextest run --locked --profile sabotage \
	  -p saboteurs --test fuzzing_daemon

# Both judges of 1,000 runs whose evidence was changed by chance; `make test` has some dozens.
second-judge: JUDGED ?= 0..1000
second-judge: ## the verdict and the second judge agree (JUDGED=FIRST..LAST)
	$(begin)
	VEXFS_VALIDATION_SEEDS=$(JUDGED) cargo nextest run --locked -p verdict --test second_judge

# Two lanes beside each other. One tries modules in guests: the one of fixtures/own, one that comes with
# the kernel, and one that DKMS builds (kernel 6.1 is the newest that Debian 12's version of it builds for).
# The kernel's own file systems are tried there as well: they are the referees. The other lane tries FUSE
# file systems; ONLY=part of a name tries only those that are called so.
ONLY ?=
IN_FOREIGN := target/guest/foreign
UNFAIR := $(IN_FOREIGN)-unfair
FOREIGN_MODULES := $(BUILT)/foreign-modules
DKMS_KERNEL := 6.1
FOREIGN_TEST := cargo test --locked --test foreign
foreign: setup build ## file systems of other people's in the reference's place, one table
	$(begin)
	@fixtures/foreign/setup.sh
	@$(SETUP) --kernel $(DKMS_KERNEL)
	$(FOREIGN_TEST) --no-run
ifeq ($(ONLY),)
	$(call beside,foreign-modules,foreign-daemons)
else
	$(FOREIGN_TEST) -- $(ONLY)
endif

foreign-daemons:
	$(begin)
	$(FOREIGN_TEST)

foreign-modules:
	$(begin)
	@rm -f $(UNFAIR)
	$(call foreign_referees,$(KERNEL))
	$(FOREIGN_TEST) -- --try $(CURDIR)/fixtures/own/module $(KERNEL) $(CURDIR)/$(IN_FOREIGN)-module
	@fixtures/foreign/modules.sh minix "$$($(SETUP) --release $(KERNEL))" $(FOREIGN_MODULES)/minix
	$(FOREIGN_TEST) -- --try $(FOREIGN_MODULES)/minix $(KERNEL) $(CURDIR)/$(IN_FOREIGN)-minix
	$(if $(filter-out $(KERNEL),$(DKMS_KERNEL)),$(call foreign_referees,$(DKMS_KERNEL)))
	@fixtures/foreign/modules.sh apfs "$$($(SETUP) --release $(DKMS_KERNEL))" $(FOREIGN_MODULES)/apfs
	$(FOREIGN_TEST) -- --try $(FOREIGN_MODULES)/apfs $(DKMS_KERNEL) $(CURDIR)/$(IN_FOREIGN)-apfs
	$(FOREIGN_TEST) -- --module fixtures/own/module $(CURDIR)/fixtures/own/module $(CURDIR)/$(IN_FOREIGN)-module \
	  --module minix $(FOREIGN_MODULES)/minix $(CURDIR)/$(IN_FOREIGN)-minix \
	  --module apfs-dkms $(FOREIGN_MODULES)/apfs $(CURDIR)/$(IN_FOREIGN)-apfs
	@test ! -e $(UNFAIR) || { echo "UNFAIR: what the kernel's own file systems fail is above"; exit 1; }

# Tries the kernel's own file systems on a kernel that modules are tried on. What they fail is printed; the
# lane goes on, and fails at its end.
define foreign_referees
@rm -rf $(IN_FOREIGN)-referees-$(1)
$(VALIDATE) guest --kernel $(1) --evidence $(IN_FOREIGN)-referees-$(1) -- \
  cargo nextest run --profile vm --no-fail-fast --ignore-default-filter -E 'binary(kernel_file_systems)' || \
  { test $$? -eq 100 && touch $(UNFAIR); }
endef

sabotage: setup build ## every saboteur must be found (SABOTEURS=nextest filterset)
	$(begin)
	fixtures/saboteurs/module/build.sh --kernel "$$($(SETUP) --release $(KERNEL))"
	cargo nextest run --locked --profile sabotage --test sabotage -E '$(SABOTEURS)'
	$(VALIDATE) sabotaged || test $$? -eq 3 # not all were looked for: it names the others

# KASAN and lockdep make an emulated kernel several times as slow. docs/sanitizers.md says what is
# left out, and why; the report compares what was to run with what did. Less memory is sooner
# searched for leaks.
SANITIZER := fixtures/guest/sanitizer.sh
SANITIZED ?= binary(module) and not (test(/stress_ng|fio_|100_000|power_cut|cgroup/) or $(LONG_ACTS))
IN_SANITIZER := target/guest/sanitize
sanitize: setup build ## the module's trials on a kernel with KASAN, kmemleak and lockdep
	$(begin)
	$(SANITIZER)
	fixtures/vexfs/kernel/build.sh --kernel "$$($(SANITIZER) --release)"
	fixtures/vexfs/kernel/build.sh --kernel "$$($(SANITIZER) --release)" --fault-injection
	fixtures/saboteurs/module/build.sh --kernel "$$($(SANITIZER) --release)"
	@rm -rf $(JUNIT)/sanitize.xml $(IN_SANITIZER)
	$(VALIDATE) guest --kernel "$$($(SANITIZER) --image)" --memory 3072 --time-limit 14400 \
	  --evidence $(IN_SANITIZER) -- sh -c 'zcat /proc/config.gz >"$$1"/kernel.config && \
	  $(SANITIZER) --check <"$$1"/kernel.config && \
  cargo nextest list --profile vm --message-format oneline -E "$$2" >"$$1"/to-run.txt && \
  cargo nextest run --profile vm -E "$$2"' \
	  sh $(CURDIR)/$(IN_SANITIZER) '$(SANITIZED)'; \
	  $(call keep_junit,$(IN_SANITIZER)/junit.xml,sanitize)
	cargo nextest run --locked --profile sabotage --test sabotage -E 'test(/sabotage::sanitizer::/)'

# Which kernels, where they come from and why: a line each. MATRIX='6.1 7.3' tries those alone. Their
# modules are built first; programs of the host are the same for all.
KERNELS := fixtures/guest/kernels.txt
MATRIX ?= $(shell sed -nE 's/^([^\# ]+) .*/\1/p' $(KERNELS))
FILTER ?= all()
matrix: ## the guest's criteria on each kernel of fixtures/guest/kernels.txt, one table (FILTER=nextest filterset)
	for kernel in $(MATRIX); do $(MAKE) setup build KERNEL=$$kernel || exit; done
	$(begin)
	$(VALIDATE) matrix --kernels "$$(echo $(MATRIX) | tr ' ' ,)" --filter '$(FILTER)'

adversary: setup build ## all that the adversary does to the module, in the guest
	$(begin)
	$(VALIDATE) guest --kernel $(KERNEL) -- \
	  cargo nextest run --profile vm -E 'test(/^module::adversary_/) or $(LONG_ACTS)'

STRETCHES := target/guest/stretches
stretches: setup build ## no request of the module's keeps a CPU for longer than a millisecond, by guest instructions
	$(begin)
	@rm -rf $(STRETCHES)
	$(VALIDATE) guest --kernel $(KERNEL) --clock instructions --evidence $(STRETCHES) -- \
	  fixtures/guest/stretches.sh 1

torture: setup build ## pjdfstest, fsx, fuzzed requests and the adversary on both homes, the engine against its model, the rule of ratios on noise (TIMES=10 times as much)
	$(begin)
	VEXFS_VALIDATION_TORTURE=$(TIMES) cargo nextest run --locked --profile torture \
	  -E '$(TORTURE) or ($(SEQUENCES))'
	VEXFS_VALIDATION_TORTURE=$(TIMES) $(VALIDATE) guest --kernel $(KERNEL) --time-limit 86400 -- \
	  cargo nextest run --profile torture -E '$(TORTURE)'

clock: setup build ## two boots on the instruction clock agree to 0.5 %, on a busy machine, too
	$(begin)
	cargo test --locked -p cli --test instruction_clock -- --nocapture

regress: setup ## this checkout against BASE, operation by operation (BASE=main)
	$(begin)
	cargo run --locked --bin vexfs-validate -- regress --kernel $(KERNEL) $(BASE)

bench: bench-engine bench-homes ## speed: the engine beside its peers, the homes beside the engine

# cargo runs it in harness/cli/: paths in ARGS are best absolute.
bench-engine: bench-setup ## the engine's recall and speed beside other libraries (ARGS=--help)
	$(begin)
	cargo bench --quiet --locked -p cli --bench engine -- $(ARGS)

# On one CPU as well: without another one's wake-up, which is the machine's and dear in some VMs.
bench-homes: setup build ## what FUSE adds to the engine; in the guest the kernel, too
	$(begin)
	cargo bench --quiet --locked -p cli --bench homes
	taskset --cpu-list 0 cargo bench --quiet --locked -p cli --bench homes -- \
	  --output $(CURDIR)/target/bench/homes-one-cpu.json
	$(VALIDATE) guest --kernel $(KERNEL) -- cargo bench --quiet --locked -p cli --bench homes

bench-setup: ## install and check what only the engine's benchmark needs (FULL=1: sets of 1,000,000 rows)
	$(begin)
	@fixtures/peers/setup.sh $(if $(FULL),--full)

# Reads and writes beyond what the SIMD functions may touch show here: Miri does not know their
# instructions. Stable Rust ships the run-time library and hides the flag.
memcheck: ## the engine's tests under AddressSanitizer (some minutes)
	$(begin)
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --locked --target-dir target/memcheck \
	  --target x86_64-unknown-linux-gnu -p vexfs-anns -p vexfs-simd

# Not part of `make test`: each root takes half an hour, and root's rights, for which it asks sudo.
KEEP ?=
hosts: ## the first steps of a user on fresh roots of Debian (ONLY='12 13 container', KEEP=yes)
	$(begin)
	@exec env KERNEL=$(KERNEL) KEEP=$(KEEP) fixtures/guest/hosts.sh $(ONLY)

gate-hooks: ## have every kernel upgrade of this machine validate the module (docs/gate.md)
	@fixtures/gate/setup.sh

# Some minutes and root's rights: apt installs kernels on a fresh root of this machine's Debian.
test-hooks: ## the hooks of kernel packages on a fresh root of Debian, where no guest is booted
	$(begin)
	fixtures/gate/test.sh

# Two guests for each kernel, and two for each sabotaged module: an hour on an emulated CPU.
UPGRADES ?= 6.12 7.3
upgrades: ## kernel upgrades with real guests, whole and sabotaged ones, one table (UPGRADES='6.12 7.3')
	for kernel in $(UPGRADES); do $(MAKE) setup build KERNEL=$$kernel || exit; done
	$(begin)
	fixtures/gate/upgrades.sh $(UPGRADES)

package: ## the Debian package of VexFS, in target/package
	$(begin)
	cargo build --locked --release $(RELEASES)
	BUILT='$(BUILT)' fixtures/package/build.sh

test-package: package ## apt installs the package on a fresh root of Debian, where it mounts and searches
	fixtures/package/test.sh target/package/vexfs_*.deb

clean: ## remove what was built
	rm -rf target

distclean: clean ## remove what was installed into the checkout as well
	rm -rf .cache

endif
