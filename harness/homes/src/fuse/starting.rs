//! How trials start the daemon under test. If it does not start, one trial fails and says why; the
//! others report that they were not tried.

use machine::failure::Failure;

use super::daemon::{FuseMount, build_if_missing};
use crate::cause::Cause;

impl FuseMount {
    /// The daemon under test, started with `options` for the trial of this thread.
    ///
    /// # Errors
    /// As [`FuseMount::start`], with advice if the daemon starts without options. Once a trial of
    /// the same criterion has found that it does not start, other trials do not try.
    pub fn for_trial(options: &[&str]) -> Result<FuseMount, Failure> {
        let program = build_if_missing()?;
        let asked = options.join(" ");
        let with = |options: &str| match options {
            "" => String::new(),
            options => format!(" with {options}"),
        };
        for cause in ["", &asked] {
            if let Some(first) = Cause::of_this_trial(cause).found_by() {
                return Err(Failure::not_tried(format!(
                    "not tried: the FUSE daemon does not start{}; {first} says why",
                    with(cause)
                )));
            }
        }
        let failure = match FuseMount::start(&program, options) {
            Ok(mount) => return Ok(mount),
            Err(failure) => failure,
        };
        // Try again without options, to find out whether the options are the reason, or the machine
        // was only slow.
        let bare = FuseMount::start(&program, &[]);
        match &bare {
            Err(_) => Cause::of_this_trial("").note(),
            Ok(_) if options.is_empty() => {}
            Ok(_) => Cause::of_this_trial(&asked).note(),
        }
        Err(match bare {
            Ok(mount) if !options.is_empty() => {
                mount.unmount()?;
                failure.and_then(format!(
                    "\nIt starts without options. If it takes no {asked}, leave {{options}} out in \
                     vexfs.toml, and trials that need a small mount will say so:\n\n    [mount]\n    \
                     fuse = \"{{program}} {{mountpoint}}\""
                ))
            }
            _ => failure.context(format!("the FUSE daemon does not start{}", with(&asked))),
        })
    }
}
