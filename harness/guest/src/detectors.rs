//! Faults in the use of memory that Debian's own kernels can look for, if their command line says so.
//!
//! docs/sanitizers.md says what each finds and what it costs. List hardening needs no argument: these
//! kernels are built with it.

use evidence::guest::Accelerator;

/// What every guest's kernel is told. `init_on_free=1` is not among them: the kernel ignores it beside
/// page poisoning, which overwrites what is freed as well, and checks it.
///
/// Sources: Documentation/admin-guide/kernel-parameters.txt, Documentation/mm/slub.rst,
/// Documentation/dev-tools/kfence.rst.
const EVERYWHERE: [&str; 2] = [
    // Every cache: which of them a module uses is not known before it is loaded. Consistency checks,
    // red zones, poison, and who allocated and freed an object.
    "slub_debug=FZPU",
    "page_poison=1",
];

/// Milliseconds between two objects that are placed beside a guard page; Debian's default is never.
/// Not on an emulated CPU: a vector load that masks out what lies in the guard page touches it there,
/// and a healthy module would be accused.
const KFENCE: &str = "kfence.sample_interval=20";

/// The kernel's arguments for a guest on `accelerator`.
pub(super) fn arguments(accelerator: Accelerator) -> Vec<&'static str> {
    let kfence = (accelerator == Accelerator::Kvm).then_some(KFENCE);
    EVERYWHERE.into_iter().chain(kfence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulated_cpu_has_no_guard_pages() {
        assert!(arguments(Accelerator::Kvm).contains(&KFENCE));
        assert_eq!(arguments(Accelerator::Tcg), EVERYWHERE);
    }
}
