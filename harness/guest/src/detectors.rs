//! Faults in the use of memory that Debian's own kernels can look for, if their command line says so.
//!
//! docs/sanitizers.md says what each finds and what it costs. List hardening needs no argument: these
//! kernels are built with it.

/// What the kernel is told. `init_on_free=1` is not among them: the kernel ignores it beside page
/// poisoning, which overwrites what is freed as well, and checks it.
///
/// Sources: Documentation/admin-guide/kernel-parameters.txt, Documentation/mm/slub.rst,
/// Documentation/dev-tools/kfence.rst.
pub(super) const ARGUMENTS: [&str; 3] = [
    // Every cache: which of them a module uses is not known before it is loaded. Consistency checks,
    // red zones, poison, and who allocated and freed an object.
    "slub_debug=FZPU",
    "page_poison=1",
    // Milliseconds between two objects that are placed beside a guard page; Debian's default is never.
    "kfence.sample_interval=20",
];
