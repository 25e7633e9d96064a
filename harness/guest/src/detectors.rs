//! Memory errors that Debian's own kernels can detect, if their command line says so.
//!
//! docs/sanitizers.md says what each detector finds and what it costs. List hardening needs no
//! argument: these kernels are built with it.

use evidence::guest::Accelerator;

/// Arguments for every guest's kernel. `init_on_free=1` is not among them: the kernel ignores it in
/// combination with page poisoning, which also overwrites freed memory, and checks it as well.
///
/// Sources: Documentation/admin-guide/kernel-parameters.txt, Documentation/mm/slub.rst,
/// Documentation/dev-tools/kfence.rst.
const EVERYWHERE: [&str; 2] = [
    // For every cache, because it is not known which caches a module uses before it is loaded:
    // consistency checks, red zones, poison, and a record of who allocated and freed an object.
    "slub_debug=FZPU",
    "page_poison=1",
];

/// Milliseconds between two objects that are placed beside a guard page; Debian's default is never.
/// Not used on an emulated CPU: there, a vector load that masks out the lanes in the guard page
/// still touches it, so a healthy module would be accused.
const KFENCE: &str = "kfence.sample_interval=20";

/// The kernel arguments for a guest on `accelerator`.
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
