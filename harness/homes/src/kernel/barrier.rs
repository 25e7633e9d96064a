//! The barrier that keeps modules out of this machine's own kernel.
//!
//! Everything that loads a module, or mounts in a way that makes the kernel load one, calls
//! [`may_load`] first. In the guest, loading is allowed. On any other kernel a person must have
//! allowed it with `--yes-on-this-machine`, at a terminal, and not in CI.

use std::io::{IsTerminal as _, stdin};

use evidence::place::Place;
use machine::failure::Failure;
use machine::{fail, place, project};

/// The permission that a person has given for this machine's own kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// None: trials never load a module outside the guest.
    None,
    /// `--yes-on-this-machine`.
    YesOnThisMachine,
}

/// The circumstances on which the decision depends.
#[derive(Debug, Clone, Copy)]
struct Circumstances {
    place: Place,
    consent: Consent,
    on_a_terminal: bool,
    in_ci: bool,
}

/// Checks that a module may be loaded into the running kernel.
///
/// # Errors
/// If it may not; the error says where it may, or what is missing.
pub fn may_load(consent: Consent) -> Result<(), Failure> {
    decide(Circumstances {
        place: place::here().place,
        consent,
        on_a_terminal: stdin().is_terminal(),
        in_ci: says_ci(std::env::var("CI").ok().as_deref()),
    })
}

/// Every CI service sets `CI`; some people's shells set it to a value that means no.
fn says_ci(value: Option<&str>) -> bool {
    value.is_some_and(|value| !matches!(value, "" | "0" | "false"))
}

fn decide(circumstances: Circumstances) -> Result<(), Failure> {
    let Circumstances { place, consent, on_a_terminal, in_ci } = circumstances;
    if place == Place::Guest {
        return Ok(());
    }
    let lacks = match consent {
        Consent::None => {
            "modules are loaded in the guest only: vexfs-validate guest -- COMMAND; one that came \
             through the gate is loaded here by: vexfs-validate gate load --yes-on-this-machine"
        }
        Consent::YesOnThisMachine if in_ci => {
            "--yes-on-this-machine has no effect in CI (the variable CI is set); load the module \
             in the guest: vexfs-validate guest -- COMMAND"
        }
        Consent::YesOnThisMachine if !on_a_terminal => {
            "--yes-on-this-machine takes effect on a terminal only, where somebody sees the result"
        }
        Consent::YesOnThisMachine => return Ok(()),
    };
    fail!(
        "nothing is loaded into this machine's own kernel ({}): {lacks}",
        project::running_kernel()
    )
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;
    use crate::kernel::{KernelMount, ModuleFile, load_open, mount_command};

    const YES: Circumstances = Circumstances {
        place: Place::Host,
        consent: Consent::YesOnThisMachine,
        on_a_terminal: true,
        in_ci: false,
    };

    #[test]
    fn the_guest_is_what_modules_are_loaded_in() {
        let guest = Circumstances { place: Place::Guest, consent: Consent::None, ..YES };
        decide(Circumstances { on_a_terminal: false, in_ci: true, ..guest }).unwrap();
    }

    #[rstest::rstest]
    #[case::a_trial(Circumstances { consent: Consent::None, ..YES }, "in the guest only")]
    #[case::in_ci(Circumstances { in_ci: true, ..YES }, "no effect in CI")]
    #[case::in_a_script(Circumstances { on_a_terminal: false, ..YES }, "on a terminal only")]
    fn the_host_needs_all_conditions(#[case] lacking: Circumstances, #[case] says: &str) {
        decide(YES).unwrap();
        let refused = decide(lacking).unwrap_err().to_string();
        assert!(
            refused.contains("this machine's own kernel") && refused.contains(says),
            "{refused}"
        );
    }

    #[rstest::rstest]
    #[case(None, false)]
    #[case(Some(""), false)]
    #[case(Some("false"), false)]
    #[case(Some("true"), true)]
    #[case(Some("1"), true)]
    fn the_variable_ci_is_read(#[case] value: Option<&str>, #[case] is_ci: bool) {
        assert_eq!(says_ci(value), is_ci);
    }

    /// On the host, each way of loading is refused before the kernel is asked: the failure has no
    /// errno, but the barrier's words.
    #[test]
    fn every_way_to_load_a_module_asks_the_barrier() {
        if place::here().place == Place::Guest {
            // In the guest, loading is allowed.
            may_load(Consent::None).unwrap();
            return;
        }
        let mut file = tempfile::NamedTempFile::with_suffix(".ko").unwrap();
        file.write_all(b"\0vermagic=6.12\0").unwrap();
        let module = ModuleFile::read(file.path()).unwrap();
        let open = File::open(file.path()).unwrap();
        let refusals = [
            module.load().unwrap_err(),
            module.load_with("a=1").unwrap_err(),
            load_open(&open).unwrap_err(),
            KernelMount::new("size=1M").unwrap_err(),
            mount_command("size=1M", "/nonexistent".as_ref()).unwrap_err(),
            crate::kernel::load_needed().unwrap_err(),
        ];
        for refusal in refusals {
            let refusal = refusal.to_string();
            assert!(
                refusal.contains("nothing is loaded into this machine's own kernel"),
                "{refusal}"
            );
        }
    }

    /// The system call, mount(2) and modprobe(8) are used only in code that asks the barrier, and
    /// nowhere else in the harness.
    #[test]
    fn no_source_file_bypasses_the_barrier() {
        let mut found = Vec::new();
        let mut directories = vec![project::root().join("harness"), project::root().join("tests")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|one| one == "rs")
                    && !path.ends_with("barrier.rs")
                {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let loads = ["finit_module(", "init_module(", "Command::new(\"modprobe\")"]
                        .iter()
                        .any(|way| {
                            text.lines().any(|line| {
                                line.contains(way) && !line.trim_start().starts_with("//")
                            })
                        });
                    if loads && !text.contains("may_load(") {
                        found.push(path.strip_prefix(project::root()).unwrap().to_owned());
                    }
                }
            }
        }
        // The kernel's own loop driver, for trials of the kernel's own file systems.
        let known = [std::path::PathBuf::from("harness/homes/tests/kernel_file_systems.rs")];
        assert_eq!(found, known);
    }
}
