//! The kernel's log, read from /dev/kmsg (Documentation/ABI/testing/dev-kmsg).

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

use evidence::kernel_log::{Finding, trouble_in};
use machine::failure::{Failure, WithContext};

const DEVICE: &str = "/dev/kmsg";

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// syslog level, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Number of the record; the next one's is one higher.
    pub seq: u64,
    /// Microseconds since boot.
    pub microseconds: u64,
    /// The text of the record.
    pub text: String,
}

impl LogRecord {
    /// Parses `level,seq,microseconds,flags;text`, followed by lines of a dictionary that begin
    /// with a space.
    fn parse(raw: &str) -> Option<LogRecord> {
        let (prefix, rest) = raw.split_once(';')?;
        let mut fields = prefix.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        let seq = fields.next()?.parse().ok()?;
        let microseconds = fields.next()?.parse().ok()?;
        let text = rest.lines().next().unwrap_or_default().to_owned();
        Some(LogRecord { level: (priority & 7) as u8, seq, microseconds, text })
    }

    /// The trouble that the record reports, if any.
    pub fn trouble(&self) -> Option<Finding> {
        trouble_in(&self.text)
    }

    /// The record as a line for the evidence.
    pub fn line(&self) -> String {
        let seconds = self.microseconds as f64 / 1e6;
        format!("{} {} {seconds:.6} {}", self.level, self.seq, self.text)
    }
}

/// The log, read from a certain moment on.
pub struct KernelLog {
    device: File,
    next_seq: Option<u64>,
}

/// Records that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logged {
    /// The records, in order.
    pub records: Vec<LogRecord>,
    /// How many records are missing between them.
    pub lost: u64,
}

impl KernelLog {
    /// Reads the log from now on.
    pub fn from_now() -> Result<KernelLog, Failure> {
        let mut device = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(DEVICE)
            .context(DEVICE)?;
        device.seek(SeekFrom::End(0)).context(DEVICE)?;
        Ok(KernelLog { device, next_seq: None })
    }

    /// Writes a line into the log that marks where a trial begins.
    pub fn mark(text: &str) -> Result<(), Failure> {
        let mut device = OpenOptions::new().write(true).open(DEVICE).context(DEVICE)?;
        // 6 is KERN_INFO, and one write is one record. Without the newline the record would stay
        // open for a continuation, and readers would see it only when the next one begins.
        device.write_all(format!("<6>vexfs-validation: {text}\n").as_bytes()).context(DEVICE)
    }

    /// The records since the last call.
    pub fn read(&mut self) -> Result<Logged, Failure> {
        let mut logged = Logged::default();
        let mut buffer = [0; 8192];
        loop {
            match self.device.read(&mut buffer) {
                Ok(0) => return Ok(logged),
                Ok(count) => self.take(&String::from_utf8_lossy(&buffer[..count]), &mut logged),
                // Records were overwritten before they were read; the sequence numbers tell how
                // many.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(logged),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context(DEVICE),
            }
        }
    }

    fn take(&mut self, raw: &str, logged: &mut Logged) {
        let Some(record) = LogRecord::parse(raw) else { return };
        if let Some(expected) = self.next_seq {
            logged.lost += record.seq.saturating_sub(expected);
        }
        self.next_seq = Some(record.seq + 1);
        logged.records.push(record);
    }
}

impl Logged {
    /// The records as lines for the evidence.
    pub fn lines(&self) -> Vec<String> {
        self.records.iter().map(LogRecord::line).collect()
    }

    /// Checks that no record is missing and none reports trouble.
    ///
    /// # Errors
    /// The first trouble, with the lines around it; or, as undecided, how many records are missing.
    pub fn check(&self) -> Result<(), Failure> {
        let mut around: VecDeque<String> = VecDeque::new();
        for (index, record) in self.records.iter().enumerate() {
            around.push_back(record.line());
            if around.len() > 4 {
                around.pop_front();
            }
            if let Some(finding) = record.trouble() {
                let after = self.records[index + 1..].iter().take(12).map(LogRecord::line);
                let lines: Vec<String> = around.into_iter().chain(after).collect();
                machine::fail!(
                    "the kernel log tells of trouble: {}\n  {}",
                    finding.headline,
                    lines.join("\n  ")
                );
            }
        }
        if self.lost > 0 {
            let words = format!("{} lines of the kernel log are missing", self.lost);
            return Err(Failure::undecided(words));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(raw: &[&str]) -> Logged {
        let device = File::open("/dev/null").unwrap();
        let mut log = KernelLog { device, next_seq: None };
        let mut logged = Logged::default();
        for one in raw {
            log.take(one, &mut logged);
        }
        logged
    }

    #[test]
    fn a_record_is_parsed() {
        let logged = logged(&["30,339,5140900,-;vexfs: loaded\n SUBSYSTEM=module\n"]);
        assert_eq!(logged.lines(), ["6 339 5.140900 vexfs: loaded"]);
        assert_eq!(logged.check(), Ok(()));
    }

    #[test]
    fn a_lost_line_is_reported() {
        let logged = logged(&["6,10,1,-;a", "6,11,2,-;b", "6,14,3,-;c"]);
        assert_eq!(logged.lost, 2);
        assert!(logged.check().unwrap_err().to_string().contains("2 lines"));
    }

    #[rstest::rstest]
    #[case::warning("4,7,1,-;WARNING: CPU: 1 PID: 9 at vexfs_fill_super+0x1/0x2 [vexfs]")]
    #[case::oops("1,7,1,-;BUG: kernel NULL pointer dereference, address: 0000000000000000")]
    #[case::leak("3,7,1,-;BUG vexfs_inode (Tainted: G O): Objects remaining in vexfs_inode")]
    #[case::leftover("4,7,1,-;sysfs: cannot create duplicate filename '/fs/vexfs'")]
    #[case::inodes("3,7,1,-;VFS: Busy inodes after unmount of vexfs (vexfs)")]
    #[case::lockdep("4,7,1,-;WARNING: possible circular locking dependency detected")]
    #[case::hung("3,7,1,-;INFO: task cat:87 blocked in I/O wait for more than 122 seconds.")]
    #[case::simd("4,7,1,-;simd exception: 0000 [#1] PREEMPT SMP NOPTI")]
    #[case::undefined("3,7,1,-;UBSAN: shift-out-of-bounds in /src/vexfs/index.c:12:3")]
    #[case::allocation("4,7,1,-;insmod: page allocation failure: order:5, mode:0xcc0(GFP_KERNEL)")]
    fn trouble_is_seen(#[case] raw: &str) {
        assert!(logged(&["6,6,0,-;before", raw]).check().is_err());
    }

    /// What a healthy run logs: loading, refused mount options, and the clock of an emulated
    /// machine.
    #[test]
    fn messages_of_a_healthy_run_are_no_trouble() {
        let lines = [
            "4,531,51754653,-;vexfs: loading out-of-tree module taints kernel.",
            "4,532,51757679,-;vexfs: module verification failed: signature and/or required key \
             missing - tainting kernel",
            "3,533,51996587,-;vexfs: size=abc is not an amount",
            "6,534,148448065,-;clocksource: Long readout interval, skipping watchdog check: \
             cs_nsec: 1911416728 wd_nsec: 1911416920",
            "4,535,156401075,-;hrtimer: interrupt took 21179517 ns",
            "6,536,192594630,-;client (252): drop_caches: 3",
            // A trial reads the report to find out which of them are the module's.
            "6,537,192594731,-;kmemleak: 3 new suspected memory leaks (see \
             /sys/kernel/debug/kmemleak)",
        ];
        assert_eq!(logged(&lines).check(), Ok(()));
    }
}
