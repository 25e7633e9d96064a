//! The part of `--help` after the options: examples, and how to read the output. A paragraph is one
//! line, which clap wraps to the terminal.

pub(super) const DOCTOR: &str = "\
Each line is ok, limited or missing; an arrow points to the command that helps. A validation runs \
with what is limited: without KVM, for example, it is slow, and its ratios hold for the VM only.

  vexfs-validate doctor
  vexfs-validate doctor --accelerator   kvm or tcg, for scripts";

pub(super) const INIT: &str = "\
On a terminal it asks three questions; with flags it asks none. It writes nothing if an answer cannot be \
used. The file goes into the checkout, or to the path in VEXFS_CONFIG: that is where it is read from.

  vexfs-validate init
  vexfs-validate init --fuse 'build/my_vexfs -f'
  vexfs-validate init --fuse '/usr/bin/python3 memfs.py' --mount '{program} {mountpoint}'
  vexfs-validate init --module kernel --filesystem myfs";

pub(super) const TRY: &str = "\
It mounts, creates, writes and reads back, makes a directory, renames, unlinks, truncates, attaches an \
index and searches, unmounts, fills a small mount and sends SIGTERM. Each step is a line, which names the \
line of vexfs.toml that would change its result, if there is one. A daemon that hangs is killed, and \
nothing is left behind.

On the host the FUSE daemon is tried. For the kernel module, run it in the guest afterwards:

  vexfs-validate try
  vexfs-validate guest -- target/debug/vexfs-validate try

The exit code is 0 if all ten steps work, 1 if one does not, and 10 if vexfs.toml is refused, the daemon \
cannot be built or /dev/fuse is missing.";

pub(super) const RUN: &str = "\
The host lane comes first: unless FUSE is preserved, there is nothing to compare the module with. Then \
the guest runs, without KVM a second time on guest instructions. The verdict and the report come last.

  vexfs-validate run                                 everything
  vexfs-validate run --only module --kernel 6.1      a criterion, on another kernel
  vexfs-validate run --only fuse --only dataset
  vexfs-validate run --soak target/soak/latest       with a soak that counts for bare metal
  vexfs-validate run --accelerator kvm               KVM, or exit code 10 before anything begins

Ctrl-C ends the guest and unmounts; `verdict` and `report` still work on what was finished.";

pub(super) const GUEST: &str = "\
The guest sees this machine's files; what it writes is discarded, except in the evidence directory. \
The exit code is the command's, or 11 to 17 if the guest ended without one.

  vexfs-validate guest                                          a shell
  vexfs-validate guest -- cargo nextest run --profile vm
  vexfs-validate guest --kernel 6.1 -- cargo test --test module -- truncate
  vexfs-validate guest --clock instructions -- cargo bench -p cli --bench homes
  vexfs-validate guest -- sh -c 'insmod target/vexfs-ko/$(uname -r)/vexfs.ko && dmesg | tail'";

pub(super) const VERDICT: &str = "\
A pure function of the directory: the same on another machine, byte for byte, without a network. \
PASS needs every expected trial and every deciding ratio; whatever is missing, cut off, changed, or \
skipped in its own place is INCONCLUSIVE. docs/evidence.md has the rules.

  vexfs-validate verdict target/validation/latest
  vexfs-validate verdict DIR --json | jq '.criteria[] | {id, state, reasons}'
  vexfs-validate verdict DIR --soak target/soak/latest";

pub(super) const REPORT: &str = "\
report.html is one file without scripts; report.md is for a pull request, report.ktap for kernel CI, \
junit.xml for GitHub, GitLab and Jenkins, and repro/ has a script for each trial that failed. The \
report of a killed or damaged run says what is missing.

  vexfs-validate report target/validation/latest
  vexfs-validate report DIR --into public/";

pub(super) const DIFF: &str = "\
A ratio is listed if its outcome changed, or if the two intervals do not overlap.

  vexfs-validate diff target/validation/20261101T120000Z target/validation/latest";

pub(super) const LIST: &str = "\
A run compares its trials with fixtures/expected-tests.json, so that a trial that vanished is as \
visible as one that failed. Under \"long_if_emulated\" it names the guest's trials that `make test` \
leaves to `make test-guest` and `make validate` where the CPU is emulated.

  vexfs-validate list --check    what `make test` does
  vexfs-validate list --update   after checking that each difference is intended";

pub(super) const ATTEST: &str = "\
The evidence is judged anew, and only a PASS is signed: a FAIL ends with 1, what is INCONCLUSIVE or \
damaged with 3, as `verdict` would. docs/attestation.md says what a signature means.

  signify-openbsd -G -p me.pub -s me.sec             or: minisign -G -p me.pub -s me.sec
  vexfs-validate attest target/validation/latest --key me.sec
  vexfs-validate attest DIR --key me.sec --soak target/soak/6.1 target/soak/6.12";

pub(super) const VERIFY: &str = "\
It ends with 0 if the attestation is signed by the key, and covers each file and the kernel that were \
named; otherwise it ends with 4, and says why.

  vexfs-validate verify attestation.intoto.json --key me.pub
  vexfs-validate verify FILE --key me.pub --module vexfs.ko --kernel \"$(uname -r)\"";

pub(super) const GATE_INSTALL: &str = "\
The module goes to /lib/modules/RELEASE/updates/vexfs-gate/, with its attestation, in one step: it is \
installed completely, or nothing changes. It ends with 4 if the gate stays shut, and says why.

  vexfs-validate gate install target/vexfs-ko/$(uname -r)/vexfs.ko --kernel $(uname -r) \\
      --attestation target/validation/latest/attestation.intoto.json --key me.pub
  ... --level vm        what has passed in the VM only; each load says so in the kernel's log";

pub(super) const GATE_REMOVE: &str = "\
The module, its attestation and its notice are removed in one step, also for a kernel that is not \
installed any more. If nothing was installed, it says so and ends with 0. A module that is loaded \
stays loaded.

  vexfs-validate gate remove --kernel $(uname -r)";

pub(super) const GATE_UPGRADE: &str = "\
The module is built for the kernel. Two guests boot that kernel, and run those trials of criteria 1 and 4 \
that take seconds (fixtures/gate/left-out.txt names the rest). What passes is signed with the \
key of this machine and installed as --level functional. Otherwise the gate stays as it was, FUSE \
serves where it was shut, and `gate status` says why. docs/gate.md has the rest.

  vexfs-validate gate upgrade --kernel 6.12.118+deb12-amd64
  vexfs-validate gate upgrade --kernel $(uname -r) --time-limit 900      on a slow machine";
