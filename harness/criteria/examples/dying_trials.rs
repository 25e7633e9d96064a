//! A criterion whose trials end their processes in several ways, for a test of what becomes of them.

use std::hint::black_box;
use std::process::ExitCode;

use criteria::trial::{Body, Trial};
use evidence::place::Place;
use homes::filesystem::Mapping;
use homes::fuse::FuseMount;
use nix::sys::signal::{Signal, raise};

fn main() -> ExitCode {
    let trials: [(&str, Body); 5] = [
        ("fuse::a_gets_sigbus", |_| {
            // There is no byte behind the end of a file.
            let mapping = Mapping::shared(&tempfile::tempfile()?, 4096)?;
            black_box(mapping.load(0, 1));
            Ok(())
        }),
        ("fuse::b_is_killed_by_somebody", |_| Ok(raise(Signal::SIGKILL)?)),
        ("fuse::c_takes_all_memory", |_| {
            black_box(vec![0_u8; black_box(3 << 30)]);
            Ok(())
        }),
        ("fuse::d_dies_with_a_mount", |_| {
            let _mount = FuseMount::under_test()?;
            std::process::abort()
        }),
        ("fuse::e_passes", |context| context.fact("seen", 5)),
    ];
    let trials = trials.map(|(name, body)| Trial::new(name, &[Place::Host], body).apart());
    criteria::main(trials.into())
}
