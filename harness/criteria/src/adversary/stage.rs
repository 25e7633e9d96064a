//! Runs an act from beginning to end, and checks the home meanwhile and afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use homes::Mounted;
use homes::torture::scale;
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use nix::unistd::geteuid;
use serde_json::{Value, json};
use vexfs_uapi::Home;

use super::acts::{Act, Until};
use super::bound::ReplyBound;
use super::exertion::Exertion;
use super::offender::Offender;
use super::scene::SceneOrder;
use super::standing::Standing;
use super::watcher::{self, Watcher, all_answered};
use crate::trial::Context;

/// The seed where none is named.
const SEED: u64 = 1;
/// Another user, who is not the adversary.
const SOMEBODY: u32 = 54_321;
/// How long the watchers are alone on the mount, to measure their requests on an idle home.
const ALONE: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(20);
/// The act counts as begun when the adversary and the home have used this much processor time since
/// he was ready. On a busy machine the request that makes others wait is sent long after he said he
/// was.
const AT_IT: Duration = Duration::from_millis(200);
/// If the home shows no processor time after this many times the adversary's time, it works where
/// we cannot see it, and the act counts as begun.
const IDLE: u32 = 4;
/// Preparations may take this many times the bound.
const PREPARATIONS: u32 = 60;
/// How long a process that survives SIGKILL is waited for, to report how long it took.
const LAST_WAIT: Duration = Duration::from_secs(20);
/// A home may hold this much beyond the mount's size, for requests in progress and for its
/// allocator.
const MARGIN_KIB: u64 = 128 << 10;
/// A home may keep this much after the act, for its allocator, besides a quarter of the mount's
/// size.
const KEPT_KIB: u64 = 64 << 10;
/// A daemon may have a pool of threads, but not a thread for each request.
const THREADS: u64 = 256;

/// Plays `act` on `mounted`.
///
/// # Errors
/// All faults found, and how to reproduce them.
pub fn run(context: &Context, mounted: &Mounted, act: &Act) -> Result<(), Failure> {
    let seed = match std::env::var("VEXFS_VALIDATION_ADVERSARY_SEED") {
        Err(_) => SEED,
        Ok(text) => text.parse().context(format!("VEXFS_VALIDATION_ADVERSARY_SEED={text}"))?,
    };
    for seed in seed..seed + u64::from(scale()?) {
        let found = Stage::new(context, mounted, act, seed)?.play()?;
        require!(
            found.is_empty(),
            "the adversary who {}:\n- {}\n(again: VEXFS_VALIDATION_ADVERSARY_SEED={seed}, trial {})",
            act.name.replace('_', " "),
            found.join("\n- "),
            context.trial()
        );
    }
    Ok(())
}

struct Stage<'a> {
    context: &'a Context,
    mounted: &'a Mounted,
    act: &'a Act,
    order: SceneOrder,
    watchers: Vec<Watcher>,
    bound: ReplyBound,
    before: Standing,
    most: Standing,
    /// The most processor time used for the adversary after he was killed.
    worked: Duration,
    /// How each round ended, for the evidence.
    rounds: Vec<Value>,
    found: Vec<String>,
}

impl<'a> Stage<'a> {
    /// Prepares the watchers, and records the state before the adversary comes.
    fn new(
        context: &'a Context,
        mounted: &'a Mounted,
        act: &'a Act,
        seed: u64,
    ) -> Result<Stage<'a>, Failure> {
        let root = mounted.path();
        fs::set_permissions(root, Permissions::from_mode(0o1777)).context("chmod of the root")?;
        let mut watchers = Vec::new();
        if geteuid().is_root() {
            watchers.push(Watcher::prepare(root, "root", None)?);
            watchers.push(Watcher::prepare(root, "another user", Some(SOMEBODY))?);
        } else {
            watchers.push(Watcher::prepare(root, "the same user", None)?);
        }
        let before = Standing::now(mounted)?;
        let bound = ReplyBound::start(context.emulated());
        let order = SceneOrder {
            act: act.name.to_owned(),
            root: root.to_owned(),
            size: act.size(),
            seed,
            round: 0,
            emulated: context.emulated(),
            times: scale()?,
        };
        Ok(Stage {
            context,
            mounted,
            act,
            order,
            watchers,
            bound,
            before,
            most: before,
            worked: Duration::ZERO,
            rounds: Vec::new(),
            found: Vec::new(),
        })
    }

    /// Runs all rounds, and returns the faults found.
    fn play(mut self) -> Result<Vec<String>, Failure> {
        self.alone()?;
        let mut well = true;
        for (round, until) in (0..).zip(self.act.rounds) {
            self.order.round = round;
            let mut adversary = Offender::start(&self.order)?;
            let answered = self.watch(&mut adversary, *until)?;
            let ended = self.end(&mut adversary)?;
            well = answered && ended;
            if !self.found.is_empty() {
                break;
            }
        }
        let answered = self.hear_the_watchers();
        self.record()?;
        if well
            && answered
            && let Err(failure) = self.leave()
        {
            self.found.push(failure.to_string());
        }
        Ok(self.found)
    }

    /// Measures how long the watchers' requests take when nobody else asks.
    fn alone(&mut self) -> Result<(), Failure> {
        for watcher in &mut self.watchers {
            watcher.start()?;
        }
        let until = Instant::now() + ALONE;
        while Instant::now() < until {
            std::thread::sleep(LOOK);
            all_answered(&self.watchers, self.bound.now()).context("before the adversary came")?;
        }
        let idle = self.watchers.iter().map(|watcher| watcher.worst().1).max().unwrap_or_default();
        self.watchers.iter().for_each(Watcher::forget);
        self.bound = self.bound.clone().with_idle(idle);
        let memory = Standing::of_memory(self.mounted)?;
        self.before = Standing { memory_kib: memory.memory_kib, ..self.before };
        Ok(())
    }

    /// Watches until the adversary ends or has had his time. Returns whether all watchers are still
    /// answered in time.
    fn watch(&mut self, adversary: &mut Offender, until: Until) -> Result<bool, Failure> {
        let began = Instant::now();
        // When the adversary was ready, and the processor time used for him by then.
        let mut ready: Option<(Instant, Duration)> = None;
        let mut at_it: Option<Instant> = None;
        loop {
            std::thread::sleep(LOOK);
            if let Some(late) = self.waits_too_long() {
                let doing = adversary.last_words();
                self.found.push(format!("{late}, while the adversary is at: {doing}"));
                return Ok(false);
            }
            match Standing::of_memory(self.mounted) {
                Ok(held) => self.most = self.most.or_more(held),
                Err(failure) => {
                    let doing = adversary.last_words();
                    self.found.push(format!("{failure}; the adversary was at: {doing}"));
                    return Ok(false);
                }
            }
            if adversary.ended()?.is_some() {
                return Ok(true);
            }
            let granted = self.bound.now() * PREPARATIONS;
            let worked = adversary.worked() + Standing::worked(self.mounted);
            match ready {
                None if adversary.is_ready() => ready = Some((Instant::now(), worked)),
                None if began.elapsed() > granted => fail!(
                    "the adversary has not begun within {:.0} s; it is at: {}",
                    began.elapsed().as_secs_f64(),
                    adversary.last_words()
                ),
                None => {}
                Some((since, before)) => {
                    let worked = worked.saturating_sub(before);
                    let may_idle = since.elapsed() > self.bound.longer() * IDLE;
                    if at_it.is_none() && (worked > AT_IT || may_idle) {
                        at_it = Some(Instant::now());
                    }
                    let enough = match until {
                        Until::Done => false,
                        Until::Killed(times) => {
                            at_it.is_some_and(|at_it| at_it.elapsed() > self.bound.longer() * times)
                        }
                        Until::Worked(native, emulated) => {
                            let due = if self.order.emulated { emulated } else { native };
                            worked > Duration::from_secs(due)
                        }
                    };
                    if enough || since.elapsed() > granted {
                        return Ok(true);
                    }
                }
            }
        }
    }

    fn waits_too_long(&self) -> Option<String> {
        all_answered(&self.watchers, self.bound.now()).err().map(|failure| failure.to_string())
    }

    /// Kills the adversary if he has not ended. Returns whether he is gone within the limit.
    fn end(&mut self, adversary: &mut Offender) -> Result<bool, Failure> {
        let bound = self.bound.now();
        let killed = Instant::now();
        let doing = adversary.last_words();
        let daemon = if let Mounted::Fuse(mount) = self.mounted { mount.pid() } else { None };
        let before = Exertion::now(daemon.into_iter().chain([adversary.pid()]).collect());
        let mut worked = Duration::ZERO;
        let done = adversary.ended()?.is_some();
        self.rounds.push(json!({
            "begun": adversary.is_ready(),
            "end": if done { "he ended" } else { "he was killed" },
            "at": &doing,
        }));
        adversary.kill();
        let limit = bound + LAST_WAIT;
        let ended = wait_for("", limit, || {
            let ended = adversary.ended()?;
            // Read only while he is alive: the entries in /proc go with him.
            worked = if ended.is_none() { before.most_since().max(worked) } else { worked };
            Ok(ended)
        });
        let took = killed.elapsed();
        self.worked = self.worked.max(worked);
        if worked > self.bound.worked(took) {
            self.found.push(format!(
                "the adversary used {:.1} s of processor time after SIGKILL (limit {:.1} s); it \
                 was at: {doing}",
                worked.as_secs_f64(),
                self.bound.worked(took).as_secs_f64()
            ));
        }
        if took > bound {
            let how = if ended.is_ok() { "ended only" } else { "is still there" };
            self.found.push(format!(
                "the adversary {how} {:.1} s after SIGKILL (limit {:.1} s); it was at: {doing}",
                took.as_secs_f64(),
                bound.as_secs_f64()
            ));
        }
        if let Ok(status) = ended {
            self.found.extend(adversary.finding(status, !done));
        }
        Ok(ended.is_ok())
    }

    /// Stops the watchers. Returns whether all their requests have been answered.
    fn hear_the_watchers(&mut self) -> bool {
        let bound = self.bound.now();
        let mut answered = true;
        for watcher in &mut self.watchers {
            let (what, took) = watcher.worst();
            if took > bound {
                self.found.push(format!(
                    "{}'s {what} took {:.1} s (limit {:.1} s)",
                    watcher.who(),
                    took.as_secs_f64(),
                    bound.as_secs_f64()
                ));
            }
            if !watcher.stop(bound) {
                let (what, since) = watcher.waits().unwrap_or_default();
                self.found.push(format!(
                    "{}'s {what} is unanswered after {:.1} s though the adversary is gone",
                    watcher.who(),
                    since.as_secs_f64()
                ));
                answered = false;
            }
            self.found.extend(watcher.wrong());
        }
        self.bound.stop();
        answered
    }

    fn record(&mut self) -> Result<(), Failure> {
        let watchers: Vec<_> =
            self.watchers.iter().map(|one| json!({"who": one.who(), "ms": one.told()})).collect();
        let held = self.most.memory_kib.saturating_sub(self.before.memory_kib);
        if held > self.order.size / 1024 + MARGIN_KIB {
            self.found.push(format!(
                "{} MiB of memory were used for a mount of {} MiB",
                held >> 10,
                self.order.size >> 20
            ));
        }
        if self.most.threads > THREADS {
            self.found.push(format!("the FUSE daemon had {} threads", self.most.threads));
        }
        self.context.fact(
            &format!("seed {}", self.order.seed),
            json!({
                "rounds": self.rounds,
                "watchers": watchers,
                "granted ms": self.bound.now().as_secs_f64() * 1e3,
                "machine late ms": self.bound.lateness().as_secs_f64() * 1e3,
                "worked after SIGKILL ms": self.worked.as_secs_f64() * 1e3,
                "before": self.before,
                "most": self.most,
            }),
        )
    }

    /// Removes the adversary's files; free space and memory must then be as before.
    fn leave(&mut self) -> Result<(), Failure> {
        let root = self.mounted.path();
        for entry in fs::read_dir(root).context("listing the files that are left")? {
            let path = entry.context("listing the files that are left")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(watcher::PREFIX) {
                continue;
            }
            let is_directory = fs::symlink_metadata(&path).is_ok_and(|file| file.is_dir());
            let removed =
                if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.context(format!("removing {name}"))?;
        }
        let before = self.before;
        let mut now = before;
        let as_before = wait_for("", self.bound.now() * 3, || {
            now = Standing::now(self.mounted)?;
            let room = now.used <= before.used && now.inodes <= before.inodes;
            let kept = KEPT_KIB + self.order.size / 4 / 1024;
            let memory = now.memory_kib <= before.memory_kib + kept;
            // Live allocations are checked at unmount, when none may be left.
            Ok((room && memory).then_some(()))
        });
        if as_before.is_err() {
            self.found.push(format!(
                "the adversary is gone and its files are removed, but the mount uses {now:?}; \
                 before it used {before:?}"
            ));
        }
        self.context.fact(&format!("seed {}, afterwards", self.order.seed), now)?;
        if self.mounted.home() == Home::Fuse {
            // Only the log shows that a thread of the daemon panicked.
            let Mounted::Fuse(mount) = self.mounted else { return Ok(()) };
            if let Some(line) = mount.log().lines().find(|line| line.contains("panicked")) {
                self.found.push(format!("the FUSE daemon's log: {line}"));
            }
        }
        Ok(())
    }
}
