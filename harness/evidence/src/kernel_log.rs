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

/// How a line that reports trouble is recognised.
enum Words {
    /// It begins with these words.
    Begins(&'static str),
    /// It begins with the first words, and the others follow somewhere behind them.
    BeginsAndHolds(&'static str, &'static [&'static str]),
    /// It holds these words, behind the name of a program, a cache or a file system.
    Holds(&'static str),
}

use Words::{Begins, BeginsAndHolds, Holds};

/// How lines that report trouble are worded; the same for a trial's part of the log and for the
/// console. The first match counts, so `BUG: soft lockup` is a lock-up and not a `BUG`. Where the
/// kernel allows it only beginnings are matched, because it also reports crashed *programs*
/// (`traps: prog[7] general protection fault`).
const TROUBLE: &[(Words, Trouble)] = &[
    (Begins("Kernel panic - not syncing"), Trouble::Panic),
    (BeginsAndHolds("watchdog: ", &["BUG: soft lockup"]), Trouble::LockUp),
    (BeginsAndHolds("NMI watchdog: ", &["BUG: soft lockup"]), Trouble::LockUp),
    // Since Linux 6.5 the watcher is named: `watchdog: CPU3: Watchdog detected hard LOCKUP`.
    (BeginsAndHolds("watchdog: ", &["Watchdog detected hard LOCKUP"]), Trouble::LockUp),
    (BeginsAndHolds("NMI watchdog: ", &["Watchdog detected hard LOCKUP"]), Trouble::LockUp),
    (Begins("BUG: workqueue lockup"), Trouble::LockUp),
    // RCU prints harmless messages with the same prefix.
    (BeginsAndHolds("rcu: INFO: ", &["stall"]), Trouble::RcuStall),
    // `INFO: task NAME:PID blocked for more than N seconds.`, or on newer kernels `blocked in I/O
    // wait for more than`.
    (BeginsAndHolds("INFO: task ", &[" blocked ", "for more than "]), Trouble::HungTask),
    (Begins("BUG: "), Trouble::Oops),
    (Begins("kernel BUG at "), Trouble::Oops),
    (Begins("Oops: "), Trouble::Oops),
    (Begins("general protection fault"), Trouble::Oops),
    (Begins("divide error: "), Trouble::Oops),
    (Begins("invalid opcode: "), Trouble::Oops),
    (Begins("stack segment: "), Trouble::Oops),
    // From the slab allocator: `BUG kmalloc-64 (Tainted: G OE): Poison overwritten`.
    (Begins("BUG "), Trouble::Oops),
    // From page poisoning: a page was written to while it was free.
    (Begins("pagealloc: "), Trouble::Oops),
    (Begins("WARNING: "), Trouble::Warning),
    // From the sanitizer of undefined behaviour, which taints nothing.
    (Begins("UBSAN: "), Trouble::Warning),
    // From lockdep, which then turns itself off: a lock that was not initialised.
    (Begins("INFO: trying to register non-static key"), Trouble::Warning),
    // From slab: a cache is destroyed while it contains objects.
    (Holds("Objects remaining in"), Trouble::Warning),
    (Holds("Slab cache still has objects"), Trouble::Warning),
    // From the VFS: somebody still holds inodes when their mount ends.
    (Holds("Busy inodes after unmount"), Trouble::Warning),
    // From sysfs: an earlier load has left a name behind.
    (Holds("cannot create duplicate filename"), Trouble::Warning),
    // From kobject: an object is used again before it was released.
    (Holds("tried to init an initialized object"), Trouble::Warning),
    // From lockdep, on debug kernels.
    (Holds("possible circular locking dependency"), Trouble::Warning),
    (Holds("possible recursive locking"), Trouble::Warning),
    (Holds("inconsistent lock state"), Trouble::Warning),
    // From the page allocator: a request without __GFP_NOWARN has failed.
    (Holds("page allocation failure"), Trouble::Warning),
];

impl Words {
    fn fit(&self, message: &str) -> bool {
        match self {
            Begins(words) => message.starts_with(words),
            BeginsAndHolds(words, others) => message
                .strip_prefix(words)
                .is_some_and(|rest| others.iter().all(|other| rest.contains(other))),
            Holds(words) => message.contains(words),
        }
    }
}

/// The trouble that one line of the log or the console reports, if it reports any.
pub fn trouble_in(line: &str) -> Option<Finding> {
    let message = without_stamps(line);
    let trouble = TROUBLE
        .iter()
        .find_map(|(words, trouble)| words.fit(message).then_some(*trouble))
        .or_else(|| is_die(message).then_some(Trouble::Oops))?;
    Some(Finding { trouble, headline: message.to_owned() })
}

/// `WORDS: CODE [#N]`, with which the kernel reports each fault of its own. Before Linux 6.10 the
/// line does not begin with `Oops: `: `simd exception: 0000 [#1] PREEMPT SMP`.
fn is_die(message: &str) -> bool {
    let Some((before, behind)) = message.split_once(" [#") else { return false };
    let Some((_, code)) = before.rsplit_once(": ") else { return false };
    let Some((number, _)) = behind.split_once(']') else { return false };
    let all = |text: &str, is: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|b| is(&b));
    all(number, u8::is_ascii_digit) && code.len() >= 4 && all(code, u8::is_ascii_hexdigit)
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

    /// Each is the wording of some kernel of the last years.
    #[rstest::rstest]
    #[case("INFO: task cat:87 blocked in I/O wait for more than 122 seconds.", Trouble::HungTask)]
    #[case("INFO: task cat:87 blocked for more than 122 seconds.", Trouble::HungTask)]
    #[case("watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3", Trouble::LockUp)]
    #[case("watchdog: Watchdog detected hard LOCKUP on cpu 3", Trouble::LockUp)]
    #[case("NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", Trouble::LockUp)]
    #[case("NMI watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [cat:87]", Trouble::LockUp)]
    #[case("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Trouble::RcuStall)]
    #[case("simd exception: 0000 [#1] PREEMPT SMP NOPTI", Trouble::Oops)]
    #[case("fpu exception: 0000 [#2] SMP", Trouble::Oops)]
    #[case("int3: 0000 [#1] PREEMPT_RT SMP NOPTI", Trouble::Oops)]
    #[case("alignment check: 0000 [#1] PREEMPT SMP", Trouble::Oops)]
    #[case("bounds: 0000 [#1]", Trouble::Oops)]
    #[case("control protection: 0003 [#11] PREEMPT SMP", Trouble::Oops)]
    #[case("UBSAN: shift-out-of-bounds in /src/vexfs/index.c:12:3", Trouble::Warning)]
    #[case("INFO: trying to register non-static key.", Trouble::Warning)]
    #[case("VFS: Busy inodes after unmount of vexfs (vexfs)", Trouble::Warning)]
    #[case("BUG vexfs_inode (Tainted: G O): Objects remaining in vexfs_inode", Trouble::Oops)]
    #[case("sysfs: cannot create duplicate filename '/fs/vexfs'", Trouble::Warning)]
    #[case("insmod: page allocation failure: order:5, mode:0xcc0(GFP_KERNEL)", Trouble::Warning)]
    #[case("kobject: 'vexfs' (0c0ffee0): tried to init an initialized object", Trouble::Warning)]
    fn kernels_word_their_trouble_differently(#[case] message: &str, #[case] trouble: Trouble) {
        for stamp in ["", "[   61.250000] ", "[   61.250000][  T123] "] {
            let finding = trouble_in(&format!("{stamp}{message}"));
            assert_eq!(finding, Some(Finding { trouble, headline: message.to_owned() }));
        }
    }

    #[rstest::rstest]
    #[case("[   15.1] NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.")]
    #[case("[   15.1] watchdog: Delayed init of the lockup detector failed: -19")]
    #[case("[   15.1] INFO: task sh:4 is blocked on a mutex likely owned by task cat:1.")]
    #[case("[   15.1] pci 0000:00:1f.2: reg 0x20: [io  0xc040-0xc05f]")]
    #[case("[   15.1] vexfs: row 00ff [of 2]")]
    #[case("[   15.1] vexfs: face [#1 of 2]")]
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
