//! The process in which the adversary acts.

use homes::torture::fuzz::Dice;
use machine::failure::{Failure, WithContext};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use super::acts::ACTS;
use super::scene::{Scene, SceneOrder};

/// A user who owns nothing, and the group of the same number.
const NOBODY: u32 = 65_534;

/// Plays the adversary, as user nobody if started by root.
///
/// # Errors
/// The first fault that the act found.
pub fn play(order: &str) -> Result<(), Failure> {
    let order: SceneOrder = serde_json::from_str(order).context("the adversary's order")?;
    if geteuid().is_root() {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setgroups(&[]).context("setgroups")?;
        setresgid(gid, gid, gid).context("setresgid")?;
        setresuid(uid, uid, uid).context("setresuid")?;
    }
    // Set after the change of credentials, which clears it.
    set_pdeathsig(Signal::SIGKILL).context("prctl")?;
    let Some(act) = ACTS.iter().find(|act| act.name == order.act) else {
        machine::fail!("the adversary has no act {}", order.act)
    };
    let dice = Dice::new(order.seed, u64::from(order.round) << 32);
    (act.work)(&mut Scene { order, dice })
}
