//! Recognises kernel trouble on the guest's console: panics, oopses, lock-ups, warnings.

use serde::{Deserialize, Serialize};

/// Kinds of trouble, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The kernel stopped.
    Panic,
    /// A fault in the kernel, or a `BUG`. The kernel carries on, but its state cannot be trusted.
    Oops,
    /// A CPU or work queue made no progress (soft or hard lock-up).
    LockUp,
    /// RCU waited too long for a CPU.
    RcuStall,
    /// A task was blocked for minutes.
    HungTask,
    /// A `WARN_ON`, lockdep report or the like.
    Warning,
}

impl Trouble {
    /// Whether the guest may never respond again.
    pub fn may_be_the_end(self) -> bool {
        self != Trouble::Warning
    }

    /// Whether it is a wait that does not end.
    pub fn is_a_wait(self) -> bool {
        matches!(self, Trouble::LockUp | Trouble::RcuStall | Trouble::HungTask)
    }
}

/// One line of the console that reports trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub trouble: Trouble,
    /// The kernel's words, without the time stamp.
    pub headline: String,
}

/// How a line that reports trouble begins, after its time stamp. The first match counts, so `BUG:
/// soft lockup` is a lock-up and not a `BUG`. Only beginnings are matched, because the kernel also
/// reports crashed *programs* (`traps: prog[7] general protection fault`).
const BEGINNINGS: &[(&str, Trouble)] = &[
    ("Kernel panic - not syncing", Trouble::Panic),
    ("watchdog: BUG: soft lockup", Trouble::LockUp),
    ("watchdog: Watchdog detected hard LOCKUP", Trouble::LockUp),
    ("NMI watchdog: Watchdog detected hard LOCKUP", Trouble::LockUp),
    ("BUG: workqueue lockup", Trouble::LockUp),
    ("rcu: INFO: ", Trouble::RcuStall),
    ("BUG: ", Trouble::Oops),
    ("kernel BUG at ", Trouble::Oops),
    ("Oops: ", Trouble::Oops),
    ("general protection fault", Trouble::Oops),
    ("divide error: ", Trouble::Oops),
    ("invalid opcode: ", Trouble::Oops),
    ("stack segment: ", Trouble::Oops),
    // From the slab allocator: `BUG kmalloc-64 (Tainted: G OE): Poison overwritten`.
    ("BUG ", Trouble::Oops),
    // From page poisoning: a page was written to while it was free.
    ("pagealloc: ", Trouble::Oops),
    ("WARNING: ", Trouble::Warning),
];

/// The trouble that one line of the console reports, if it reports any.
pub fn trouble_in(line: &str) -> Option<Finding> {
    let message = without_stamps(line);
    let trouble = BEGINNINGS
        .iter()
        .find_map(|&(beginning, trouble)| message.starts_with(beginning).then_some(trouble))
        .or_else(|| is_hung_task(message).then_some(Trouble::HungTask))?;
    // RCU prints harmless messages with the same prefix.
    if trouble == Trouble::RcuStall && !message.contains("stall") {
        return None;
    }
    Some(Finding { trouble, headline: message.to_owned() })
}

/// `INFO: task NAME:PID blocked for more than N seconds.`
fn is_hung_task(message: &str) -> bool {
    message.starts_with("INFO: task ") && message.contains(" blocked for more than ")
}

/// Drops `[   12.345678]` and, on debug kernels, `[  T123]`.
fn without_stamps(line: &str) -> &str {
    let mut rest = line.trim();
    while let Some((stamp, after)) = rest.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let is_stamp = stamp
            .trim()
            .trim_start_matches(['T', 'C'])
            .chars()
            .all(|character| character.is_ascii_digit() || character == '.');
        if !is_stamp {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings in a transcript, one a line.
    fn findings(transcript: &str) -> String {
        transcript
            .lines()
            .filter_map(trouble_in)
            .map(|finding| format!("{:?}: {}\n", finding.trouble, finding.headline))
            .collect()
    }

    #[rstest::rstest]
    #[case::healthy(include_str!("../tests/console/healthy.log"), "")]
    #[case::panic(
        include_str!("../tests/console/panic.log"),
        "Panic: Kernel panic - not syncing: sysrq triggered crash\n"
    )]
    #[case::oops(
        include_str!("../tests/console/oops.log"),
        "Oops: BUG: kernel NULL pointer dereference, address: 0000000000000000\n\
         Oops: Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI\n"
    )]
    #[case::bug(
        include_str!("../tests/console/bug.log"),
        "Oops: kernel BUG at /tmp/fault/fault.c:14!\n\
         Oops: Oops: invalid opcode: 0000 [#1] PREEMPT SMP NOPTI\n"
    )]
    #[case::soft_lockup(
        include_str!("../tests/console/soft_lockup.log"),
        "LockUp: watchdog: BUG: soft lockup - CPU#0 stuck for 44s! [insmod:212]\n"
    )]
    #[case::hung_task(
        include_str!("../tests/console/hung_task.log"),
        "HungTask: INFO: task insmod:213 blocked for more than 10 seconds.\n"
    )]
    #[case::warning(
        include_str!("../tests/console/warning.log"),
        "Warning: WARNING: CPU: 1 PID: 216 at /tmp/fault/fault.c:12 fault_init+0x7b/0xff0 [fault]\n"
    )]
    fn transcripts_are_understood(#[case] transcript: &str, #[case] expected: &str) {
        assert_eq!(findings(transcript), expected);
    }

    #[rstest::rstest]
    #[case("[   15.1] traps: prog[7] general protection fault ip:1 sp:2 error:0 in prog[3]")]
    #[case("[   15.1] prog[7]: segfault at 0 ip 00 sp 00 error 4 in prog[400]")]
    #[case("[   15.1] rcu: Hierarchical SRCU implementation.")]
    #[case("[   15.1] debug: BUG: is only quoted here")]
    #[case("")]
    #[case("[unfinished")]
    fn remarks_are_not_trouble(#[case] line: &str) {
        assert_eq!(trouble_in(line), None);
    }

    #[test]
    fn debug_kernels_stamp_twice() {
        let finding =
            trouble_in("[   15.250000][  T123] WARNING: possible recursive locking detected\r");
        assert_eq!(finding.map(|finding| finding.trouble), Some(Trouble::Warning));
    }
}
