//! What of this machine the suite can use, and the command that provides what it lacks.

use crate::failure::Failure;
use crate::place::{self, Place};
use crate::project;
use crate::requirement::{Missing, Requirement};
use crate::vm::{self, Accelerator, DEFAULT_SERIES, Kernel, KernelChoice, Qemu};

/// The other series that Debian 12 has, of the kernel matrix.
const OTHER_SERIES: &str = "6.1";

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It works; with details.
    Works(String),
    /// A validation runs without it, with the consequence and what to do about it.
    Limited(Missing),
    /// A validation needs it, and it is not there.
    Missing(Missing),
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Its name.
    pub what: String,
    /// How it is.
    pub condition: Condition,
}

/// Things that belong together, under a heading.
pub type Group = (&'static str, Vec<Examined>);

/// Looks at this machine. To tell whether KVM works a kernel is booted on it, once.
#[must_use]
pub fn examine() -> Vec<Group> {
    let mut groups = vec![
        (
            "FUSE and the file-system tests",
            required(&[
                Requirement::Root,
                Requirement::DevFuse,
                Requirement::Fusermount,
                Requirement::FuseDaemon,
                Requirement::Vexctl,
                Requirement::Program("pjdfstest"),
                Requirement::Program("fsx"),
                Requirement::Program("fio"),
                Requirement::Program("stress-ng"),
                Requirement::SoundCpu,
            ]),
        ),
        (
            "data and competitors",
            required(&[
                Requirement::Numpy,
                Requirement::Competitor("chromadb"),
                Requirement::Competitor("qdrant"),
            ]),
        ),
    ];
    groups.push(match place::here().place {
        Place::Host => ("the guest", guest()),
        Place::Guest => (
            "the kernel module",
            required(&[
                Requirement::ModuleLoading,
                Requirement::Module,
                Requirement::FaultInjectionModule,
            ]),
        ),
    });
    groups
}

/// Whether everything is there that a validation needs.
#[must_use]
pub fn is_fit(groups: &[Group]) -> bool {
    let mut all = groups.iter().flat_map(|(_, examined)| examined);
    !all.any(|one| matches!(one.condition, Condition::Missing(_)))
}

fn required(requirements: &[Requirement]) -> Vec<Examined> {
    requirements
        .iter()
        .map(|one| needed(&one.title(), one.check().map(|()| String::new())))
        .collect()
}

fn needed(what: &str, found: Result<String, impl Into<Missing>>) -> Examined {
    let condition = found.map_or_else(|why| Condition::Missing(why.into()), Condition::Works);
    Examined { what: what.to_owned(), condition }
}

fn guest() -> Vec<Examined> {
    let qemu = Qemu::find().map(|qemu| format!("{} ({})", qemu.version, qemu.path.display()));
    let virtme = vm::launcher().map(|path| path.display().to_string());
    let mut examined = vec![needed("QEMU", qemu), needed("virtme-ng", virtme), virtiofsd()];
    examined.extend(kernel(DEFAULT_SERIES));
    examined.extend(kernel(OTHER_SERIES).into_iter().map(|one| match one.condition {
        Condition::Missing(why) => Examined {
            condition: Condition::Limited(Missing {
                what: format!("{}, so it cannot be validated", why.what),
                ..why
            }),
            ..one
        },
        _ => one,
    }));
    examined.push(accelerator());
    examined
}

fn virtiofsd() -> Examined {
    let condition = vm::find_program("virtiofsd").map_or_else(
        || {
            Condition::Limited(Missing {
                what: "no virtiofsd: the guest's files come over 9p, three times slower".into(),
                remedy: "provide it with: make setup".into(),
            })
        },
        |path| Condition::Works(path.display().to_string()),
    );
    Examined { what: "virtiofsd".into(), condition }
}

/// A kernel to boot, and VexFS built for it.
fn kernel(series: &str) -> Vec<Examined> {
    let choice = KernelChoice::Version(series.to_owned());
    let kernel = match Kernel::find(&choice) {
        Ok(kernel) => kernel,
        Err(why) => return vec![needed(&format!("kernel {series}"), Err(why))],
    };
    let release = &kernel.release;
    let built = |module: Result<std::path::PathBuf, Failure>, option: &str| match module {
        Ok(path) if path.is_file() => Ok(path.display().to_string()),
        Ok(path) => Err(Missing {
            what: format!("it is not built ({})", path.display()),
            remedy: format!(
                "provide it with: fixtures/vexfs/kernel/build.sh --kernel {release}{option}"
            ),
        }),
        Err(failure) => Err(Missing {
            what: failure.to_string(),
            remedy: "docs/own-vexfs.md says what vexfs.toml may say".into(),
        }),
    };
    vec![
        needed(
            &format!("kernel {series}"),
            Ok::<_, Missing>(format!("{release} ({})", kernel.image.display())),
        ),
        needed(
            &format!("headers of {release}"),
            kernel.headers().map(|path| path.display().to_string()),
        ),
        needed(&format!("vexfs.ko for {release}"), built(project::kernel_module(release), "")),
        needed(
            &format!("vexfs.ko with fault injection for {release}"),
            built(Ok(project::fault_injection_module(release)), " --fault-injection"),
        ),
    ]
}

fn accelerator() -> Examined {
    let condition = match vm::accelerator_here() {
        Ok((Accelerator::Kvm, why)) => Condition::Works(format!("KVM: {why}")),
        Ok((Accelerator::Tcg, why)) => Condition::Limited(Missing {
            what: format!(
                "the guest's CPU is emulated (TCG), and bare metal stays NOT ELIGIBLE: {why}"
            ),
            remedy: "for a verdict on speed use a machine where KVM boots the kernel".into(),
        }),
        Err(why) => Condition::Missing(why.into()),
    };
    Examined { what: "accelerator".into(), condition }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_makes_a_machine_unfit_and_what_is_limited_does_not() {
        let missing = Missing { what: "x is not there".into(), remedy: "make setup".into() };
        let of = |condition| vec![("group", vec![Examined { what: "x".into(), condition }])];
        assert!(is_fit(&of(Condition::Works(String::new()))));
        assert!(is_fit(&of(Condition::Limited(missing.clone()))));
        assert!(!is_fit(&of(Condition::Missing(missing))));
    }

    #[test]
    fn a_kernel_that_is_not_there_is_missing_with_its_remedy() {
        let examined = kernel("0.99");
        let [Examined { condition: Condition::Missing(missing), .. }] = &examined[..] else {
            panic!("{examined:?}");
        };
        assert_eq!(missing.remedy, "provide it with: make setup KERNEL=0.99");
    }
}
