//! Waits until dpkg(1) is done. The guests run on this machine's files, and those that a package
//! replaces meanwhile are stale in the guest.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::interrupt::interrupted;
use machine::require;
use nix::fcntl::{FcntlArg, fcntl};

/// apt and dpkg hold a POSIX lock on this file for as long as they install.
const LOCK: &str = "var/lib/dpkg/lock-frontend";

/// Waits for at most `limit`.
pub(super) fn wait(root: &Path, limit: Duration) -> Result<(), Failure> {
    let path = root.join(LOCK);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.context(path.display())?,
    };
    let what = format!("the end of dpkg, which holds {}", path.display());
    wait_for(what, limit, || {
        require!(!interrupted(), "interrupted while waiting for dpkg");
        Ok((!is_held(&file)?).then_some(()))
    })
}

/// Whether another process holds the lock.
fn is_held(file: &File) -> io::Result<bool> {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn it_waits_for_as_long_as_somebody_holds_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let short = Duration::from_millis(20);
        wait(root.path(), short).unwrap();
        let lock = root.path().join(LOCK);
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        fs::write(&lock, "").unwrap();
        wait(root.path(), short).unwrap();
        // apt locks so, too.
        let script = "import fcntl, sys\nfile = open(sys.argv[1], 'w')\nfcntl.lockf(file, \
                      fcntl.LOCK_EX)\nprint('locked', flush=True)\nsys.stdin.read()";
        let mut holder = Command::new("/usr/bin/python3")
            .args(["-c", script])
            .arg(&lock)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        let failure = wait(root.path(), short).unwrap_err().to_string();
        assert!(failure.contains("the end of dpkg") && failure.contains("lock-frontend"));
        drop(holder.stdin.take());
        wait(root.path(), Duration::from_secs(60)).unwrap();
        holder.wait().unwrap();
    }
}
