//! Tries ten things of a FUSE daemon.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use evidence::exit;
use homes::filesystem::{FirstThing, OPTIONS, first_things};
use homes::fuse::{FuseMount, How, NotStarted, build_if_missing};
use homes::fuse_options;
use machine::config::{self, Config};
use machine::failure::Failure;
use machine::interrupt::Signals;
use machine::mount::entries;
use nix::sys::signal::Signal;

use super::advice;
use super::tally::Tally;
use super::watch::{HANGS, within};
use crate::stop::Stop;

/// The limit of each thing. On a quiet machine none takes a tenth of it.
const EACH: Duration = Duration::from_secs(4);
/// The limit of mounting and of ending. Both have limits of their own; this one is the safety net.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a process that tries a thing may still take after its daemon was killed.
const FREED: Duration = Duration::from_secs(5);
/// No further thing is begun after this time: a daemon that hangs once usually hangs again.
const ALL: Duration = Duration::from_secs(25);
/// No further thing is begun after so many that hung, for the same reason.
const MOST_HANGS: usize = 2;
/// A daemon that goes to the background does so within this time.
const GOES: Duration = Duration::from_millis(250);

const MOUNTS: &str = "mounts, and its root answers";
const UNMOUNTS: &str = "ends with status 0 when it is unmounted, and leaves nothing";
const HEARS: &str = "unmounts on SIGTERM";

/// A daemon under trial. It is started again if it has died.
struct Daemon<'a> {
    program: PathBuf,
    options: Vec<String>,
    mount: Option<FuseMount>,
    signals: &'a Signals,
    begun: Instant,
    /// How many things hung.
    hung: usize,
}

pub(super) fn try_it(tally: &mut Tally, signals: &Signals) -> Result<(), Stop> {
    let config = config::current().map_err(|failure| Stop::new(exit::SETUP, failure))?;
    let program = build_if_missing().map_err(|failure| {
        let exit = if signals.interrupted() { exit::INTERRUPTED } else { exit::SETUP };
        Stop::new(exit, failure)
    })?;
    let begun = Instant::now();
    let mut daemon = Daemon { program, options: Vec::new(), mount: None, signals, begun, hung: 0 };
    let starts = daemon.start_first(config, tally)?;
    let things = first_things();
    let (sized, plain): (Vec<_>, Vec<_>) =
        things.into_iter().partition(|thing| !thing.operation.on_any_mount());
    if !starts {
        tally.rest_not_tried("the FUSE daemon does not start");
        return Ok(());
    }
    for thing in plain {
        daemon.try_thing(&thing, tally)?;
    }
    daemon.unmounts(tally)?;
    for thing in sized {
        daemon.try_on_mount_of_its_own(&thing, tally)?;
    }
    daemon.hears_sigterm(tally)
}

impl Daemon<'_> {
    /// Starts the daemon as trials do, and if that fails, without options.
    fn start_first(&mut self, config: &Config, tally: &mut Tally) -> Result<bool, Stop> {
        let takes_options = config.mount.fuse.as_ref().is_none_or(|own| own.mentions("options"));
        let usual = vec!["-o".to_owned(), fuse_options(OPTIONS)];
        let asked = if takes_options { usual } else { Vec::new() };
        let began = Instant::now();
        let failed = match self.attempt(&asked)? {
            Ok(mount) => {
                let seconds = (began.elapsed() - GOES).as_secs_f64();
                tally.works(MOUNTS, &format!("{} in {seconds:.1} s", kind_of(&mount)));
                (self.options, self.mount) = (asked, Some(mount));
                return Ok(true);
            }
            Err(failed) => failed,
        };
        // A daemon that mounts but does not answer will not answer with other options either.
        let bare = if asked.is_empty() || failed.how == How::NoAnswer {
            Err(failed.clone())
        } else {
            self.attempt(&[])?
        };
        match bare {
            Ok(mount) => {
                let failure = failed.failure.context(format!("not with {}", asked.join(" ")));
                tally.lacks(MOUNTS, &failure, Some(advice::without_options()));
                self.mount = Some(mount);
                Ok(true)
            }
            Err(bare) => {
                let failure = if bare.how == failed.how {
                    failed.failure
                } else {
                    failed.failure.and_then(format!("\nand without options: {}", bare.failure))
                };
                tally.lacks(MOUNTS, &failure, advice::not_started(bare.how, config));
                Ok(false)
            }
        }
    }

    /// Starts the daemon, and checks that it stays in the foreground.
    fn attempt(&self, options: &[String]) -> Result<Result<FuseMount, NotStarted>, Stop> {
        within(LONGEST, self.signals, || {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let mut mount = FuseMount::attempt(&self.program, &options)?;
            mount.stays(GOES)?;
            Ok(mount)
        })
    }

    /// The daemon's mount, with the options that it takes. If the daemon has died, a new one.
    fn mounted(&mut self) -> Result<Result<FuseMount, Failure>, Stop> {
        if let Some(mut mount) = self.mount.take()
            && mount.now().is_empty()
        {
            return Ok(Ok(mount));
        }
        let options = self.options.clone();
        Ok(self.attempt(&options)?.map_err(does_not_start_again))
    }

    fn has_time(&self) -> bool {
        self.hung < MOST_HANGS && self.begun.elapsed() < ALL * super::watch::slowness()
    }

    fn try_thing(&mut self, thing: &FirstThing, tally: &mut Tally) -> Result<(), Stop> {
        if !self.has_time() {
            tally.not_tried(thing.title, NO_TIME);
            return Ok(());
        }
        let outcome = match self.mounted()? {
            Ok(mount) => {
                let (outcome, mount) = self.on(mount, thing)?;
                self.mount = mount;
                outcome
            }
            Err(failure) => Err(failure),
        };
        tell(tally, thing, outcome, None);
        Ok(())
    }

    /// Tries a thing on `mount`, and returns the mount as well if its daemon is still alive.
    fn on(
        &mut self,
        mut mount: FuseMount,
        thing: &FirstThing,
    ) -> Result<(Result<(), Failure>, Option<FuseMount>), Stop> {
        let last = (EACH + FREED) * super::watch::slowness();
        let path = mount.path().to_owned();
        let outcome = within(EACH, self.signals, || thing.operation.run_apart(&path, last))?;
        let Err(failure) = outcome else { return Ok((Ok(()), Some(mount))) };
        let hangs = failure.to_string().starts_with(HANGS);
        self.hung += usize::from(hangs);
        let now = mount.now();
        let alive = now.is_empty() && !hangs;
        let failure = if hangs { failure } else { failure.and_then(now) };
        Ok((Err(failure), alive.then_some(mount)))
    }

    fn try_on_mount_of_its_own(
        &mut self,
        thing: &FirstThing,
        tally: &mut Tally,
    ) -> Result<(), Stop> {
        if self.options.is_empty() {
            let why = Failure::new("it is given no options, and so no size=");
            tally.lacks(thing.title, &why, Some(advice::no_size()));
            return Ok(());
        }
        if !self.has_time() {
            tally.not_tried(thing.title, NO_TIME);
            return Ok(());
        }
        let options = ["-o".to_owned(), fuse_options(thing.operation.options)];
        let (outcome, alive) = match self.attempt(&options)? {
            Ok(mount) => self.on(mount, thing)?,
            Err(not) => (Err(not.failure.context(format!("with {}", options.join(" ")))), None),
        };
        // Of one that has died nothing is known of its sizes.
        tell(tally, thing, outcome, alive.map(|_| advice::size()));
        Ok(())
    }

    fn unmounts(&mut self, tally: &mut Tally) -> Result<(), Stop> {
        let outcome = match self.mounted()? {
            Ok(mount) => within(LONGEST, self.signals, || mount.unmount())?,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => tally.works(UNMOUNTS, ""),
            Err(failure) => tally.lacks(UNMOUNTS, &failure, None),
        }
        Ok(())
    }

    fn hears_sigterm(&mut self, tally: &mut Tally) -> Result<(), Stop> {
        let outcome = match self.mounted()? {
            Ok(mount) => within(LONGEST, self.signals, || mount.end_by(Signal::SIGTERM))?,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => tally.works(HEARS, ""),
            Err(failure) => tally.lacks(HEARS, &failure, None),
        }
        Ok(())
    }
}

const NO_TIME: &str = "earlier things hung, or took too long";

fn does_not_start_again(not: NotStarted) -> Failure {
    not.failure.context("the FUSE daemon does not start again")
}

fn tell(
    tally: &mut Tally,
    thing: &FirstThing,
    outcome: Result<(), Failure>,
    advice: Option<String>,
) {
    match outcome {
        Ok(()) => tally.works(thing.title, ""),
        Err(failure) => tally.lacks(thing.title, &super::plain(&failure, thing), advice),
    }
}

/// The mount's type in /proc/mounts, such as `fuse.vexfs`.
fn kind_of(mount: &FuseMount) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let at = mount.path().as_os_str().as_bytes();
    let all = entries().unwrap_or_default();
    let kind = all.into_iter().rfind(|one| one.at == at).map(|one| one.kind).unwrap_or_default();
    String::from_utf8_lossy(&kind).into_owned()
}
