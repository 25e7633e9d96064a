//! Acting as another user.

use machine::failure::{Failure, WithContext};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::threads::in_thread;

/// A user who owns nothing, and the group with the same number.
pub const NOBODY: u32 = 65_534;
/// Another user who owns nothing.
pub const SOMEBODY: u32 = 54_321;

/// Runs `work` as user `uid`, with `gid` as its only group and without any capabilities.
///
/// In Linux, credentials belong to a thread; only the C library changes those of all threads
/// together. So a new thread becomes that user, and ends as that user.
pub fn as_user<T: Send>(
    uid: u32,
    gid: u32,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    in_thread(|| {
        set_thread_groups(&[]).context("setgroups")?;
        set_thread_res_gid(group, group, group).context("setresgid")?;
        set_thread_res_uid(user, user, user).context("setresuid")?;
        work().context(format!("as user {uid} of group {gid}"))
    })
}
