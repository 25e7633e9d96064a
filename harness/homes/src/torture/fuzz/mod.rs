//! The contract's requests, random and mutated from valid ones, sent by several threads to files
//! that change meanwhile. Every answer must be one that the contract allows, written into the
//! request's memory and nowhere else, and nothing may be left when the files are gone.
//!
//! A seed determines what each thread does (but not when): `VEXFS_VALIDATION_FUZZ_SEED` replays a
//! run.

mod answer;
mod dice;
mod files;
mod memory;
mod request;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use vexfs_uapi::Home;

use self::answer::{Allowed, Bounds};
pub use self::dice::Dice;
use self::files::{Files, LARGEST, is_due};
use self::memory::Memory;
use self::request::FuzzedRequest;
use super::scale;

/// Requests of a run, over all threads.
const REQUESTS: u64 = 100_000;
const THREADS: u64 = 4;
/// The seed if none is given.
const SEED: u64 = 42;
/// A file is changed once in this many requests. Most of an emulated guest's time goes into the
/// indexing that follows.
const DISTURBED_EVERY: u64 = 60;
/// In an emulated guest a run takes 45 s on the kernel's mount and 85 s on FUSE's, and has taken
/// 500 s beside another guest.
const LIMIT: Duration = Duration::from_secs(1_500);
/// How long freeing may take: FUSE frees a file only when the kernel has told it to forget the
/// file.
const FREED_WITHIN: Duration = Duration::from_secs(30);

/// How often each answer was given.
type RequestCounts = BTreeMap<String, u64>;

/// A summary for the evidence.
#[derive(Debug, Serialize)]
pub struct FuzzSummary {
    seed: u64,
    threads: u64,
    requests: u64,
    answers: RequestCounts,
}

/// What the threads of a run share.
struct FuzzRun {
    files: Files,
    bounds: Bounds,
    seed: u64,
    requests_of_each: u64,
    /// How many requests each thread has begun, which shows where a hang is.
    begun: Vec<AtomicU64>,
    stop: AtomicBool,
}

/// Fuzzes the `mount` of `home`, which has a limit of `size` bytes.
///
/// # Errors
/// An answer that is not allowed, with the seed that replays it; a hang; memory that is not freed;
/// or a run that did not cover everything that it should.
pub fn run(mount: &Path, home: Home, size: u64) -> Result<FuzzSummary, Failure> {
    let seed = seed()?;
    println!("seed {seed} (VEXFS_VALIDATION_FUZZ_SEED={seed} replays it)");
    let idle = free_bytes(mount)?;
    let requests = REQUESTS * u64::from(scale()?);
    let run = Arc::new(FuzzRun {
        files: Files::new(mount)?,
        bounds: Bounds { home, file: LARGEST, mount: size },
        seed,
        requests_of_each: requests / THREADS,
        begun: (0..THREADS).map(|_| AtomicU64::new(0)).collect(),
        stop: AtomicBool::new(false),
    });
    let threads: Vec<JoinHandle<Result<RequestCounts, Failure>>> = (0..THREADS)
        .map(|number| {
            let run = Arc::clone(&run);
            thread::spawn(move || {
                let outcome = run.thread(number).context(format!("seed {seed}, thread {number}"));
                run.stop.fetch_or(outcome.is_err(), Ordering::Relaxed);
                outcome
            })
        })
        .collect();
    wait_for("the fuzzing threads", LIMIT * scale()?, || {
        Ok(threads.iter().all(JoinHandle::is_finished).then_some(()))
    })
    .map_err(|late| Failure::new(format!("{late}; requests begun: {:?}", run.begun)))?;
    let mut answers = RequestCounts::new();
    for thread in threads {
        for (answer, count) in thread.join().unwrap_or_else(|panic| resume_unwind(panic))? {
            *answers.entry(answer).or_default() += count;
        }
    }
    check_coverage(&answers)?;
    let Some(run) = Arc::into_inner(run) else { fail!("a thread that has ended holds its files") };
    run.files.remove()?;
    wait_for("the release of the fuzzer's space", FREED_WITHIN, || {
        Ok((free_bytes(mount)? == idle).then_some(()))
    })?;
    Ok(FuzzSummary { seed, threads: THREADS, requests, answers })
}

fn seed() -> Result<u64, Failure> {
    match std::env::var("VEXFS_VALIDATION_FUZZ_SEED") {
        Err(_) => Ok(SEED),
        Ok(text) => text.parse().context(format!("VEXFS_VALIDATION_FUZZ_SEED is {text:?}")),
    }
}

fn free_bytes(mount: &Path) -> Result<u64, Failure> {
    let stat = statvfs(mount)?;
    Ok(stat.blocks_free() * stat.fragment_size())
}

impl FuzzRun {
    fn thread(&self, number: u64) -> Result<RequestCounts, Failure> {
        let mut dice = Dice::new(self.seed, number);
        let mut memory = Memory::new()?;
        let mut tally = RequestCounts::new();
        for count in 0..self.requests_of_each {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.begun[number as usize].store(count, Ordering::Relaxed);
            if dice.one_in(DISTURBED_EVERY) {
                let (what, outcome) = self.files.disturb(&mut dice);
                require!(is_due(outcome), "before request {count}: {what} gave {outcome:?}");
                self.files.check_capacity(self.bounds.mount)?;
                *tally.entry(format!("{what}: {}", word_for(outcome))).or_default() += 1;
            }
            let request = FuzzedRequest::next(&mut dice);
            let outcome = self.ask(&request, &mut memory).context(format!("request {count}"))?;
            let answer = format!("{}: {}", request.name(), word_for(outcome));
            *tally.entry(answer).or_default() += 1;
        }
        Ok(tally)
    }

    /// Makes the request and checks the answer.
    fn ask(
        &self,
        request: &FuzzedRequest,
        memory: &mut Memory,
    ) -> Result<Result<(), Errno>, Failure> {
        let address = memory.place(&request.bytes, request.placement)?;
        let descriptor = self.files.descriptor(request.target);
        // SAFETY: the kernel checks the address before it uses it. The fuzzer looks for homes that
        // write beyond the request; such a write hits a guard page or a canary of `memory`.
        let result = unsafe { libc::ioctl(descriptor, request.number.into(), address) };
        let outcome = Errno::result(result).map(drop);
        let told = || {
            let header: Vec<u32> = (0..18).map(|n| request.word(n)).collect();
            let (number, placement, target) = (request.number, request.placement, request.target);
            format!("ioctl {number:#x} {header:?} {placement:?} on {target:?} gave {outcome:?}")
        };
        let allowed = Allowed::of(request);
        require!(allowed.holds(outcome), "{}, expected {allowed:?}", told());
        let Some(after) = memory.answer(request.bytes.len(), request.placement) else {
            fail!("{}, and wrote to memory outside the request", told());
        };
        match outcome {
            Ok(()) if request.placement.is_writable() => {
                self.bounds.check(request, after).context(told())?
            }
            Ok(()) => {}
            Err(_) => require!(
                after == &request.bytes[..after.len()],
                "{}, but changed the request",
                told()
            ),
        }
        Ok(outcome)
    }
}

fn word_for(outcome: Result<(), Errno>) -> String {
    outcome.map_or_else(|errno| format!("{errno:?}"), |()| "ok".to_owned())
}

/// Checks that every kind of request succeeded, and that every errno occurred that requests alone
/// can cause. Other errnos of the contract's table need a failing allocation, a fatal signal or a
/// failing home.
fn check_coverage(answers: &RequestCounts) -> Result<(), Failure> {
    const OF_ANY: [&str; 5] = ["ok", "ENOTTY", "EBADF", "EFAULT", "EINVAL"];
    const DUE: [(&str, &[&str]); 6] = [
        ("ATTACH", &["EEXIST", "ENOSPC"]),
        ("DETACH", &["ENOENT"]),
        ("SEARCH", &["ENOENT"]),
        ("SEARCH of a batch", &["ENOENT"]),
        ("STATS", &["ENOENT"]),
        ("none of the contract's", &[]),
    ];
    let missing: Vec<String> = DUE
        .iter()
        .flat_map(|(name, own)| {
            let any: &[&str] = if own.is_empty() { &["ENOTTY"] } else { &OF_ANY };
            any.iter().chain(*own).map(move |answer| format!("{name}: {answer}"))
        })
        .filter(|answer| !answers.contains_key(answer))
        .collect();
    require!(
        missing.is_empty(),
        "answers that never came: {missing:?}; answers that came: {answers:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_coverage_is_reported() {
        let failure = check_coverage(&RequestCounts::new()).unwrap_err().to_string();
        assert!(failure.contains("ATTACH: ENOSPC"), "{failure}");
    }
}
