//! Unix time as a calendar shows it, in UTC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A second of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc {
    year: u64,
    month: u64,
    day: u64,
    /// Of the day.
    second: u64,
}

impl Utc {
    /// The second in which `now` lies; what is before 1970 counts as its beginning.
    pub fn of(now: SystemTime) -> Self {
        Utc::of_seconds(now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// The second in which a Unix time in milliseconds lies.
    pub fn of_milliseconds(milliseconds: u64) -> Self {
        Utc::of_seconds(milliseconds / 1000)
    }

    /// After the calendar algorithm of Howard Hinnant ("chrono-Compatible Low-Level Date
    /// Algorithms", days to civil).
    fn of_seconds(seconds: u64) -> Self {
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Utc {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            second,
        }
    }

    /// `20261122T144501Z`, as a directory is named.
    pub fn compact(self) -> String {
        let Utc { year, month, day, second } = self;
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}{month:02}{day:02}T{h:02}{m:02}{s:02}Z")
    }

    /// `2026-11-22T14:45:01`, an XML Schema `dateTime` without a zone.
    pub fn iso8601(self) -> String {
        let Utc { year, month, day, second } = self;
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}")
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc { year, month, day, second } = self;
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02} UTC")
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
    fn the_calendar_is_right(#[case] seconds: u64, #[case] compact: &str, #[case] shown: &str) {
        let utc = Utc::of_milliseconds(seconds * 1000 + 999);
        assert_eq!((utc.compact(), utc.to_string()), (compact.to_owned(), shown.to_owned()));
    }
}
