//! What `--help` teaches beyond the options: examples, and how to read what comes out. A paragraph is
//! one line, which is broken where the terminal ends.

pub(super) const DOCTOR: &str = "\
Each line is ok, limited or missing, and an arrow leads to the command that provides it. What is \
limited does not keep a validation from running: an emulated CPU makes it slow, and its ratios stay \
in the VM.

  vexfs-validate doctor
  vexfs-validate doctor --accelerator   kvm or tcg, for scripts";

pub(super) const INIT: &str = "\
On a terminal it asks three questions; with flags it asks none. What cannot be is refused, and nothing is \
written then. The file goes where it is looked for: into the checkout, or where VEXFS_CONFIG says.

  vexfs-validate init
  vexfs-validate init --fuse 'build/my_vexfs -f'
  vexfs-validate init --fuse '/usr/bin/python3 memfs.py' --mount '{program} {mountpoint}'
  vexfs-validate init --module kernel --filesystem myfs";

pub(super) const TRY: &str = "\
It mounts, creates, writes and reads back, makes a directory, renames, unlinks, truncates, asks for an \
index and searches, unmounts, fills a small mount and sends SIGTERM: a line each, and where a line of \
vexfs.toml would change it, which. Whatever the daemon does, nothing hangs and nothing is left.

On the host it is the FUSE daemon that is tried. The kernel module comes after it in the guest:

  vexfs-validate try
  vexfs-validate guest -- target/debug/vexfs-validate try

It ends with 0 where all ten work, with 1 where one does not, with 10 where \
vexfs.toml is refused, the daemon cannot be built or /dev/fuse is not there.";

pub(super) const RUN: &str = "\
The host lane comes first: where FUSE is not preserved nothing else is measured against it. Then the \
guest, without KVM a second boot on guest instructions, then the verdict and the report.

  vexfs-validate run                                 everything
  vexfs-validate run --only module --kernel 6.1      a criterion, on another kernel
  vexfs-validate run --only fuse --only dataset
  vexfs-validate run --soak target/soak/latest       with a soak that counts for bare metal
  vexfs-validate run --accelerator kvm               KVM, or exit code 10 before anything begins

Ctrl-C ends the guest and unmounts; of what was finished `verdict` and `report` still tell.";

pub(super) const GUEST: &str = "\
The guest sees this machine's files, and what it writes is thrown away but for the evidence directory. \
Its exit code is the command's; 11 to 17 tell how it ended where it has none.

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
junit.xml for GitHub, GitLab and Jenkins, and repro/ has a script for each trial that failed. A run \
that was killed or damaged has its report, too, which says what is missing.

  vexfs-validate report target/validation/latest
  vexfs-validate report DIR --into public/";

pub(super) const DIFF: &str = "\
Ratios are named where their outcome is another one, or where their intervals do not meet.

  vexfs-validate diff target/validation/20261101T120000Z target/validation/latest";

pub(super) const LIST: &str = "\
A trial that vanished is as loud as one that failed: a run holds its trials against \
fixtures/expected-tests.json.

  vexfs-validate list --check    what `make test` does
  vexfs-validate list --update   after a look at whether each difference is meant";

pub(super) const ATTEST: &str = "\
The evidence is judged anew, and only a PASS is signed: a FAIL ends with 1, what is INCONCLUSIVE or \
damaged with 3, as `verdict` would. docs/attestation.md says what a signature means.

  signify-openbsd -G -p me.pub -s me.sec             or: minisign -G -p me.pub -s me.sec
  vexfs-validate attest target/validation/latest --key me.sec
  vexfs-validate attest DIR --key me.sec --soak target/soak/6.1 target/soak/6.12";

pub(super) const VERIFY: &str = "\
It ends with 0 where the attestation is signed by the key, and holds for each file and kernel that was \
named; with 4 where it does not, and says why.

  vexfs-validate verify attestation.intoto.json --key me.pub
  vexfs-validate verify FILE --key me.pub --module vexfs.ko --kernel \"$(uname -r)\"";

pub(super) const GATE_INSTALL: &str = "\
The module goes to /lib/modules/RELEASE/updates/vexfs-gate/, with its attestation, in one step: it is \
there whole, or everything is as it was. It ends with 4 where the gate stays shut, and says why.

  vexfs-validate gate install target/vexfs-ko/$(uname -r)/vexfs.ko --kernel $(uname -r) \\
      --attestation target/validation/latest/attestation.intoto.json --key me.pub
  ... --level vm        what has passed in the VM only; each load says so in the kernel's log";
