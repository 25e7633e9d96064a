//! Host or guest: where this process runs, and how that is known.
//!
//! The guest is recognised by something that only our launcher can have put there: a token on the
//! kernel command line that matches the token in the evidence directory shared with the host, on a
//! kernel that booted after the host wrote the token (so its boot id differs). The hypervisor's own
//! marks are recorded as evidence but decide nothing: with `-cpu host` they may be absent, and the
//! host may itself be a virtual machine.

use std::arch::x86_64::__cpuid;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use evidence::place::{Mark, Place};
use evidence::{EvidenceError, Writer};
use serde::{Deserialize, Serialize};

/// Kernel command line parameter with the launcher's token.
pub const TOKEN_KEY: &str = "vexfs_validation.token=";
/// Kernel command line parameter with the absolute path of the shared evidence directory.
pub const EVIDENCE_KEY: &str = "vexfs_validation.evidence=";
/// File in the evidence directory: the token and the host's boot id, on a line each.
pub const TOKEN_FILE: &str = "guest.token";

/// A place, and the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recognition {
    /// The place that was decided on.
    pub place: Place,
    /// Why, in a sentence.
    pub reason: String,
    /// The evidence directory that the launcher shared, in the guest.
    pub evidence_dir: Option<PathBuf>,
    /// Every mark that was looked at.
    pub marks: Vec<Mark>,
}

/// The facts that decide the place; [`PlaceFacts::of_this_system`] reads them from the running
/// system.
#[derive(Debug, Clone, Default)]
pub struct PlaceFacts {
    /// `/proc/cmdline`.
    pub command_line: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// CPUID leaf 0x4000_0000, the hypervisor's vendor; empty if there is none.
    pub hypervisor: String,
    /// DMI system vendor and product; empty if there are none.
    pub dmi: String,
}

impl PlaceFacts {
    /// Reads the facts. A fact that cannot be read stays empty and proves nothing.
    pub fn of_this_system() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let dmi = ["sys_vendor", "product_name"]
            .map(|name| read(&format!("/sys/class/dmi/id/{name}")))
            .join(" ");
        PlaceFacts {
            command_line: read("/proc/cmdline"),
            boot_id: boot_id(),
            hypervisor: hypervisor_vendor(),
            dmi: dmi.trim().to_owned(),
        }
    }
}

/// This boot's id; empty if the kernel has none.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The hypervisor's name for itself, e.g. `KVMKVMKVM` or `TCGTCGTCGTCG`; empty on bare metal.
pub fn hypervisor_vendor() -> String {
    const HYPERVISOR_PRESENT: u32 = 1 << 31;
    if __cpuid(1).ecx & HYPERVISOR_PRESENT == 0 {
        return String::new();
    }
    let leaf = __cpuid(0x4000_0000);
    let bytes: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx]
        .iter()
        .flat_map(|register| register.to_le_bytes())
        .filter(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Decides the place from `facts` and the token file that they name.
pub fn recognise(facts: &PlaceFacts) -> Recognition {
    let value = |key: &str| {
        facts.command_line.split_ascii_whitespace().find_map(|word| word.strip_prefix(key))
    };
    let token = value(TOKEN_KEY);
    let evidence_dir = value(EVIDENCE_KEY).map(PathBuf::from);
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let mut marks = vec![
        mark("kernel command line: token", token.unwrap_or("none")),
        mark(
            "kernel command line: evidence directory",
            &evidence_dir.as_ref().map_or("none".into(), |dir| dir.display().to_string()),
        ),
        mark("boot id", &or_none(&facts.boot_id)),
        mark("CPUID 0x40000000 (hypervisor)", &or_none(&facts.hypervisor)),
        mark("DMI system", &or_none(&facts.dmi)),
    ];
    let verified = match (token, &evidence_dir) {
        (Some(token), Some(dir)) => {
            let outcome = token_matches(token, dir, &facts.boot_id);
            marks.push(mark(
                "token in the evidence directory",
                match &outcome {
                    Ok(()) => "the same, written before this kernel booted",
                    Err(why) => why,
                },
            ));
            outcome
        }
        (None, None) => Err("our launcher left no mark on the kernel command line".to_owned()),
        _ => Err("the kernel command line holds only half of our launcher's mark".to_owned()),
    };
    match verified {
        Ok(()) => Recognition {
            place: Place::Guest,
            reason: "the launcher's token is on the kernel command line and in the shared \
                     evidence directory"
                .to_owned(),
            evidence_dir,
            marks,
        },
        Err(reason) => Recognition { place: Place::Host, reason, evidence_dir: None, marks },
    }
}

fn mark(source: &str, found: &str) -> Mark {
    Mark { source: source.to_owned(), found: found.to_owned() }
}

fn token_matches(token: &str, dir: &Path, boot_id: &str) -> Result<(), String> {
    let path = dir.join(TOKEN_FILE);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = text.lines();
    if lines.next() != Some(token) || token.is_empty() {
        return Err("another token".to_owned());
    }
    match lines.next() {
        Some(host) if !host.is_empty() && host != boot_id => Ok(()),
        Some(_) => Err("the same token, but this is the boot that wrote it: the host".to_owned()),
        None => Err("the same token, but without the host's boot id".to_owned()),
    }
}

/// The place of this process, decided once.
pub fn here() -> &'static Recognition {
    static HERE: OnceLock<Recognition> = OnceLock::new();
    HERE.get_or_init(|| recognise(&PlaceFacts::of_this_system()))
}

/// Variable that names the evidence directory on the host; in the guest, the kernel command line
/// names it.
pub const DIR_VARIABLE: &str = "VEXFS_VALIDATION_EVIDENCE";

/// The evidence writer of this process. It writes into the run's directory, and is disabled if a
/// person runs a test by hand.
///
/// # Errors
/// [`EvidenceError`] if the directory is named but cannot be written.
pub fn evidence_writer() -> Result<Writer, EvidenceError> {
    let here = here();
    let dir = match here.place {
        Place::Guest => here.evidence_dir.clone(),
        Place::Host => std::env::var_os(DIR_VARIABLE).map(Into::into),
    };
    dir.map_or_else(|| Ok(Writer::disabled(here.place)), |dir| Writer::open(&dir, here.place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(command_line: &str) -> PlaceFacts {
        PlaceFacts {
            command_line: command_line.to_owned(),
            boot_id: "guest-boot".into(),
            ..PlaceFacts::default()
        }
    }

    fn shared(token_file: Option<&str>) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        if let Some(text) = token_file {
            fs::write(dir.path().join(TOKEN_FILE), text).unwrap();
        }
        let line = format!("quiet {TOKEN_KEY}abc {EVIDENCE_KEY}{}", dir.path().display());
        (dir, line)
    }

    #[test]
    fn a_matching_token_of_another_boot_is_the_guest() {
        let (dir, line) = shared(Some("abc\nhost-boot\n"));
        let recognition = recognise(&facts(&line));
        assert_eq!(recognition.place, Place::Guest);
        assert_eq!(recognition.evidence_dir.as_deref(), Some(dir.path()));
    }

    #[rstest::rstest]
    #[case::no_token_file(None, "guest.token")]
    #[case::other_token(Some("xyz\nhost-boot\n"), "another token")]
    #[case::own_boot(Some("abc\nguest-boot\n"), "the host")]
    #[case::no_boot_id(Some("abc\n"), "without the host's boot id")]
    fn anything_less_is_the_host(#[case] token_file: Option<&str>, #[case] reason: &str) {
        let (_dir, line) = shared(token_file);
        let recognition = recognise(&facts(&line));
        assert_eq!(recognition.place, Place::Host);
        assert!(recognition.reason.contains(reason), "{}", recognition.reason);
    }

    #[rstest::rstest]
    #[case("quiet splash")]
    #[case("vexfs_validation.token=abc")]
    #[case("vexfs_validation.evidence=/tmp")]
    fn without_the_whole_mark_it_is_the_host(#[case] line: &str) {
        assert_eq!(recognise(&facts(line)).place, Place::Host);
    }

    #[test]
    fn a_hypervisor_alone_decides_nothing() {
        let mut facts = facts("quiet");
        facts.hypervisor = "TCGTCGTCGTCG".into();
        facts.dmi = "QEMU Standard PC".into();
        assert_eq!(recognise(&facts).place, Place::Host);
    }
}
