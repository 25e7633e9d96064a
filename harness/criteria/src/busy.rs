//! While one user's index builds for hours, all other users of the mount must be served.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use homes::filesystem::{NOBODY, SOMEBODY, as_user};
use homes::kernel::{KernelMount, ModuleFile};
use machine::child::Running;
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::under_test::Program;
use machine::{fail, require};
use measure::dataset::{self, Dataset};
use nix::sys::signal::{Signal, kill};
use vexfs_uapi::Home;

use crate::adversary::processor_time;
use crate::trial::Context;
use crate::watched::own_knows_requests;

const DIM: usize = 16;
const ROWS: usize = 20_000;
/// A graph over [`ROWS`] that takes hours.
const SLOW: [&str; 6] = ["--kind", "hnsw", "--m", "128", "--ef-construction", "20000"];
/// Processor time by which the program has certainly started and read the file, and is building.
const AT_IT: Duration = Duration::from_secs(2);
/// No request takes a thousandth of this, and the build takes longer.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// A request to the mount with this root.
pub(super) type Request = fn(&Path) -> io::Result<()>;

/// The file that the offender keeps busy.
pub(super) fn busy(root: &Path) -> PathBuf {
    root.join("busy.f32")
}

/// The requests that root and another user send, neither of whom keeps the file busy. One removes a
/// name of that file, which holds the directory's lock while it waits.
pub(super) const REQUESTS: &[(&str, Request)] = &[
    ("stat of the busy file", |root| fs::metadata(busy(root)).map(drop)),
    ("read of the busy file", |root| File::open(busy(root))?.read_exact_at(&mut [0; 64], 64)),
    ("create", |root| File::create_new(root.join("new")).map(drop)),
    ("chmod", |root| fs::set_permissions(root.join("new"), Permissions::from_mode(0o600))),
    ("link of the busy file", |root| fs::hard_link(busy(root), root.join("linked"))),
    ("rename of the busy file", |root| fs::rename(root.join("linked"), root.join("renamed"))),
    ("unlink of the busy file", |root| fs::remove_file(root.join("renamed"))),
    ("create beside it", |root| File::create_new(root.join("beside")).map(drop)),
    ("unlink", |root| fs::remove_file(root.join("beside"))),
    ("unlink of another file", |root| fs::remove_file(root.join("new"))),
    ("readdir", |root| fs::read_dir(root)?.try_for_each(|entry| entry.map(drop))),
];

pub(super) fn others_are_answered(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    let root = mount.path();
    own_knows_requests(Home::Kernel, root)?;
    open_to_all(root)?;
    let data = Dataset::generate(29, ROWS, DIM, 1);
    fs::write(busy(root), dataset::bytes(&data.base))?;
    fs::set_permissions(busy(root), Permissions::from_mode(0o666)).context("chmod of the file")?;

    let mut command = Command::new("setpriv");
    command.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string()]);
    command.arg("--clear-groups").arg(Program::Vexctl.build_if_missing()?).arg("attach");
    command.arg(busy(root)).args(["--dim", &DIM.to_string()]).args(SLOW);
    let building = Running::start(&mut command)?;
    let pid = building.pid();
    wait_for("an ATTACH to be under way", LIMIT, || {
        Ok((processor_time(pid.as_raw().unsigned_abs()) > AT_IT).then_some(()))
    })?;
    for (who, uid) in [("root", 0), ("another user", SOMEBODY)] {
        answered(who, uid, root, REQUESTS, "while another user's index is built")?;
    }
    context.fact("requests that were answered meanwhile", 2 * REQUESTS.len())?;
    // If the build had ended before, the answers would have shown nothing.
    kill(pid, Signal::SIGKILL).context("kill")?;
    let ended = building.finish(LIMIT)?;
    require!(
        std::os::unix::process::ExitStatusExt::signal(&ended.status) == Some(libc::SIGKILL),
        "the ATTACH ended before all requests were answered, with {}: {}",
        ended.status,
        ended.tail()
    );
    mount.unmount()?;
    loaded.unload()
}

/// Lets all users reach the root of a mount and make files there.
pub(super) fn open_to_all(root: &Path) -> Result<(), Failure> {
    if let Some(parent) = root.parent() {
        fs::set_permissions(parent, Permissions::from_mode(0o711)).context(parent.display())?;
    }
    fs::set_permissions(root, Permissions::from_mode(0o777)).context("chmod of the root")
}

/// Checks that each request of user `uid` is answered. A thread whose request is not answered is
/// left behind, and ends when the request does.
pub(super) fn answered(
    who: &str,
    uid: u32,
    root: &Path,
    requests: &'static [(&'static str, Request)],
    meanwhile: &str,
) -> Result<(), Failure> {
    let (tells, answers) = channel();
    let root = root.to_owned();
    thread::spawn(move || {
        as_user(uid, uid, || {
            for (_, request) in requests {
                if tells.send(request(&root)).is_err() {
                    break;
                }
            }
            Ok(())
        })
    });
    requests.iter().try_for_each(|(what, _)| hear(who, what, meanwhile, &answers))
}

fn hear(
    who: &str,
    what: &str,
    meanwhile: &str,
    answers: &Receiver<io::Result<()>>,
) -> Result<(), Failure> {
    match answers.recv_timeout(LIMIT) {
        Ok(answer) => answer.context(format!("{who}'s {what}")),
        Err(RecvTimeoutError::Timeout) => {
            fail!("{who}'s {what} is not answered within {} s, {meanwhile}", LIMIT.as_secs())
        }
        Err(RecvTimeoutError::Disconnected) => fail!("{who} could not send {what}"),
    }
}
