//! Unix time as a date in UTC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;

/// The last millisecond of the year 9999. Later years need more than four digits, which readers of
/// XML refuse.
const LAST_MS: u64 = 253_402_300_799_999;

/// A moment, written to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc(DateTime<chrono::Utc>);

impl Utc {
    /// The moment of `now`; times before 1970 count as its first second.
    pub fn of(now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Utc::of_milliseconds(since.as_millis() as u64)
    }

    /// The moment of a Unix time in milliseconds.
    pub fn of_milliseconds(milliseconds: u64) -> Self {
        let milliseconds = milliseconds.min(LAST_MS).cast_signed();
        Utc(DateTime::from_timestamp_millis(milliseconds).unwrap_or_default())
    }

    /// `20261122T144501Z`, as a directory is named.
    pub fn compact(self) -> String {
        self.0.format("%Y%m%dT%H%M%SZ").to_string()
    }

    /// `2026-11-22T14:45:01`, an XML Schema `dateTime` without a zone.
    pub fn iso8601(self) -> String {
        self.0.format("%Y-%m-%dT%H:%M:%S").to_string()
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%d %H:%M:%S UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(0, "19700101T000000Z", "1970-01-01 00:00:00 UTC")]
    #[case(951_782_399, "20000228T235959Z", "2000-02-28 23:59:59 UTC")]
    #[case(951_782_400, "20000229T000000Z", "2000-02-29 00:00:00 UTC")]
    #[case(1_795_358_701, "20261122T144501Z", "2026-11-22 14:45:01 UTC")]
    #[case(10_000_000_000_000, "99991231T235959Z", "9999-12-31 23:59:59 UTC")]
    fn the_calendar_is_right(#[case] seconds: u64, #[case] compact: &str, #[case] shown: &str) {
        let utc = Utc::of_milliseconds(seconds * 1000 + 999);
        assert_eq!((utc.compact(), utc.to_string()), (compact.to_owned(), shown.to_owned()));
    }
}
