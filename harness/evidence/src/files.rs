//! Names in a run's directory.

use crate::place::Place;

/// How the last guest was launched; the guest reads its clock there.
pub const LAUNCH_FILE: &str = "guest-launch.json";
/// The kernel's console, and what QEMU and virtme-ng say.
pub const CONSOLE_FILE: &str = "console.log";
/// The verdict.
pub const VERDICT_FILE: &str = "verdict.json";
/// The report, as a page.
pub const REPORT_PAGE: &str = "report.html";
/// Directory that holds the directories of the run's soaks.
pub const SOAKS: &str = "soak";
/// Directory with the saboteurs that were found.
pub const SABOTAGE: &str = "sabotage";
/// Directory with the evidence of the kernel with sanitizers.
pub const SANITIZED: &str = "sanitize";

/// The file of the records of `place`.
pub fn trail(place: Place) -> &'static str {
    match place {
        Place::Host => "host.jsonl",
        Place::Guest => "guest.jsonl",
    }
}
