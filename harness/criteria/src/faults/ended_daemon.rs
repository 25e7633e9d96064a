//! Ends the FUSE daemon while it refuses a write and makes the kernel write back pages stored
//! beside it. A thread of the daemon then sleeps in the kernel, deaf to SIGKILL, until the daemon
//! itself answers. A daemon that simply exits is never gone, and its callers wait for ever.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use evidence::place::Place;
use homes::filesystem::Mapping;
use homes::fuse::FuseMount;
use machine::child::{Running, in_words};
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{fail, part, require};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use vexfs_uapi::Home;
use vexfs_uapi::client::{Declaration, attach};

use crate::requirement::Requirement;
use crate::trial::Trial;
use crate::watched::own_knows_requests;

/// The child process that stores, and whose writes are refused.
pub const PART: &str = "refused";
/// How often a daemon is ended by each signal.
const TIMES: u32 = 3;
/// The daemon is ended after this many refused writes.
const REFUSED: usize = 5;
/// Limit for those writes in an emulated guest, and for the last answer after the daemon is ended:
/// the answer takes a few seconds, or never comes.
const LIMIT: Duration = Duration::from_secs(30);
/// Limit for the whole trial, which takes seven seconds.
const ALL_LIMIT: Duration = Duration::from_secs(120);
const PAGE: usize = 4096;

/// The child's order: the file to write.
#[derive(Serialize, Deserialize)]
struct Order {
    path: PathBuf,
}

pub(super) fn trial() -> Trial {
    let name = "fuse::ends_while_it_refuses_and_writes_back";
    Trial::new(name, &[Place::Host, Place::Guest], |_| {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            for _ in 0..TIMES {
                ends_by(signal)?;
            }
        }
        FuseMount::for_trial(&["-o", "size=64M"])?.unmount()
    })
    .needs(&[Requirement::DevFuse, Requirement::FuseDaemon])
    .within(ALL_LIMIT)
}

fn ends_by(signal: Signal) -> Result<(), Failure> {
    let mount = FuseMount::for_trial(&["-o", "size=64M"])?;
    own_knows_requests(Home::Fuse, mount.path())?;
    let order = Order { path: mount.path().join("f") };
    let writer = Running::start(&mut part::command(PART, &order)?)?;
    // Move `mount` behind `writer`, so that it is dropped first: a stuck writer dies of SIGKILL
    // only when the mount is gone.
    let mount = mount;
    wait_for("writes that are refused", LIMIT, || {
        let said = writer.said()?;
        match writer.ended()? {
            Some(status) => fail!("the writer {}: {said}", in_words(status)),
            None => Ok((said.lines().count() >= REFUSED).then_some(())),
        }
    })?;
    mount.signal(signal)?;
    let Ok(status) = wait_for("", LIMIT, || writer.ended()) else {
        fail!("after {signal} in the middle of a refused write the writer waits for an answer");
    };
    // The page that is stored into may be gone, hence SIGBUS.
    let well = status.success() || status.signal() == Some(libc::SIGBUS);
    require!(well, "the writer {}: {}", in_words(status), writer.said()?);
    match signal {
        Signal::SIGKILL => mount.clean_up_after_kill(),
        _ => mount.ended_busy(signal),
    }
    .context(format!("{signal} in the middle of a refused write"))
}

/// Stores through a mapping and sends writes that must be refused, until the daemon is gone.
///
/// # Errors
/// A write succeeds or fails with another error.
pub fn play(order: &str) -> Result<(), Failure> {
    const ROW: usize = 4;
    let Order { path } = serde_json::from_str(order).context("parsing the order")?;
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    file.write_all_at(&[0; 3 * PAGE], 0)?;
    attach(&file, &Declaration::flat(ROW as u32)).context("ATTACH")?;
    let mapping = Mapping::shared(&file, 3 * PAGE)?;
    let mut refused = 0;
    loop {
        mapping.store(0, &[refused as u8]);
        // Not the page that is stored into, and not the beginning of a page, which would be kept
        // locked for the write.
        let written = file.write_all_at(&f32::NAN.to_le_bytes(), 2 * PAGE as u64 + 400);
        match written.map_err(|error| error.raw_os_error()) {
            Err(Some(libc::EINVAL)) => refused += 1,
            Err(Some(libc::ENOTCONN | libc::ECONNABORTED)) => return Ok(()),
            otherwise => fail!("write of a row that is not finite: {otherwise:?}, expected EINVAL"),
        }
        if refused <= REFUSED {
            println!("refused");
        }
    }
}
