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

/// Makes a panic of any thread a fault that ends the process. The other threads may never end by
/// themselves, and SIGKILL, which they would wait for, does not count as a fault.
fn panics_are_faults() {
    std::panic::set_hook(Box::new(|panic| {
        println!("found: {panic}");
        std::process::exit(1);
    }));
}

/// Plays the adversary, as user nobody if started by root.
///
/// # Errors
/// The first fault that the act found.
pub fn play(order: &str) -> Result<(), Failure> {
    panics_are_faults();
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

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;
    use std::time::Duration;

    use machine::child::Running;

    use super::*;

    const INNER: &str = "VEXFS_VALIDATION_TEST_PANICS";

    /// This test starts itself again: the inner process panics beside a thread that never ends.
    #[test]
    fn a_panic_of_any_thread_is_a_fault_and_ends_the_process() {
        if std::env::var_os(INNER).is_some() {
            panics_are_faults();
            thread::scope(|scope| {
                scope.spawn(|| panic!("a hand panics"));
                loop {
                    thread::sleep(Duration::from_secs(1));
                }
            });
        }
        let module = module_path!().split_once("::").unwrap().1;
        let name = format!("{module}::a_panic_of_any_thread_is_a_fault_and_ends_the_process");
        let mut inner = Command::new(std::env::current_exe().unwrap());
        inner.args(["--exact", &name, "--nocapture"]).env(INNER, "1");
        let ended = Running::start(&mut inner).unwrap().finish(Duration::from_secs(60)).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
        let found = ended.output.split_once("found: ").map(|(_, found)| found);
        assert!(found.is_some_and(|found| found.contains("a hand panics")), "{}", ended.output);
    }
}
