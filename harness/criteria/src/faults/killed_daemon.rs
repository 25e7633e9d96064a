//! Kills the FUSE daemon in the middle of its work.

use std::time::Duration;

use evidence::place::Place;
use homes::filesystem::requests_end_well;
use homes::fuse::FuseMount;

use crate::both_homes::ENDED;
use crate::requirement::Requirement;
use crate::trial::Trial;

/// How often a daemon is killed.
const TIMES: u32 = 3;
/// All of it takes a moment, and seconds in an emulated guest.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn trial() -> Trial {
    Trial::new("fuse::killed_daemon_leaves_no_one_waiting", &[Place::Host, Place::Guest], |_| {
        for _ in 0..TIMES {
            let mount = FuseMount::for_trial(&["-o", "size=64M"])?;
            requests_end_well(mount.path(), ENDED, || mount.kill())?;
            mount.clean_up_after_kill()?;
        }
        FuseMount::for_trial(&["-o", "size=64M"])?.unmount()
    })
    .needs(&[Requirement::DevFuse, Requirement::FuseDaemon])
    .within(LIMIT)
}
