//! The processors that a benchmark may use, and the one on which it measures.

use machine::failure::{Failure, WithContext};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Processors that this process may use.
#[derive(Debug, Clone, Copy)]
pub struct Cores(CpuSet);

impl Cores {
    /// The processors that the calling thread may use now.
    pub fn allowed() -> Result<Self, Failure> {
        let this = Pid::from_raw(0);
        Ok(Cores(sched_getaffinity(this).context("the processors that may be used")?))
    }

    /// How many processors.
    pub fn count(&self) -> usize {
        (0..CpuSet::count()).filter(|&cpu| self.0.is_set(cpu).unwrap_or(false)).count()
    }

    /// The processor to measure on: the last one, because most interrupts go to the first.
    pub fn measuring(&self) -> usize {
        (0..CpuSet::count()).rfind(|&cpu| self.0.is_set(cpu).unwrap_or(false)).unwrap_or(0)
    }

    /// Binds the calling thread, and processes that it starts from now on, to [`Cores::measuring`].
    pub fn stay_on_one(&self) -> Result<(), Failure> {
        let mut one = CpuSet::new();
        one.set(self.measuring())?;
        sched_setaffinity(Pid::from_raw(0), &one).context("staying on one processor")
    }

    /// Lets the calling thread, and processes that it starts from now on, use all of them.
    pub fn use_all(&self) -> Result<(), Failure> {
        sched_setaffinity(Pid::from_raw(0), &self.0).context("using all processors")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_then_all_again() {
        // In a thread of its own, so that no other test's affinity changes.
        let (all, one, again) = std::thread::spawn(|| {
            let all = Cores::allowed().unwrap();
            all.stay_on_one().unwrap();
            let one = Cores::allowed().unwrap();
            all.use_all().unwrap();
            (all, one, Cores::allowed().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((one.count(), one.measuring()), (1, all.measuring()));
        assert_eq!(again.count(), all.count());
    }
}
