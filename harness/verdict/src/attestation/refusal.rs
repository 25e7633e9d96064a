//! Why nothing is attested, and why an attestation does not hold.

use std::fmt;

use evidence::utc::Utc;

use crate::rule::judgement::State;

/// How many of a verdict's reasons a message names; it only counts the others.
const NAMED: usize = 3;

/// Why nothing is attested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAttested {
    /// The chain of the evidence is broken.
    Damaged(Vec<String>),
    /// The verdict is not PASS; the criteria that are not PASS, each with its first reason.
    NotPassed(State, Vec<String>),
    /// The evidence does not say what was tested; what is missing.
    Untold(String),
}

impl NotAttested {
    /// The verdict that prevents an attestation.
    pub fn state(&self) -> State {
        match self {
            NotAttested::NotPassed(state, _) => *state,
            NotAttested::Damaged(_) | NotAttested::Untold(_) => State::Inconclusive,
        }
    }
}

impl fmt::Display for NotAttested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let few = |all: &[String]| {
            let more = all.len().saturating_sub(NAMED);
            let first = all[..all.len() - more].join("; ");
            if more > 0 { format!("{first}; and {more} more") } else { first }
        };
        match self {
            NotAttested::Damaged(damage) => write!(
                f,
                "nothing is attested: the chain of the evidence is broken: {}; validate again with: \
                 vexfs-validate run",
                few(damage)
            ),
            NotAttested::NotPassed(state, reasons) => write!(
                f,
                "nothing is attested: the verdict is {state}, and only PASS is; {}; see all of it \
                 with: vexfs-validate verdict DIR",
                few(reasons)
            ),
            NotAttested::Untold(what) => {
                write!(f, "nothing is attested: {what}; validate again with: vexfs-validate run")
            }
        }
    }
}

/// Why an attestation does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The file is no DSSE envelope.
    NoEnvelope(String),
    /// An envelope without a signature.
    NotSigned,
    /// Signed, but by keys other than the one that was named.
    OtherKey {
        /// The key that was named.
        key: String,
        /// The keys that have signed it.
        signed_by: Vec<String>,
    },
    /// It claims to be signed by the key, but the signature does not match these bytes.
    Forged {
        /// The key.
        key: String,
    },
    /// What was signed is no attestation of a verdict.
    NoAttestation(String),
    /// It attests another result than PASSED.
    NotPassed(String),
    /// It was judged by thresholds that differ from those registered here.
    OtherThresholds,
    /// It is about another file of that name.
    OtherFile {
        /// What the file is.
        what: String,
        /// The file that was shown.
        shown: String,
        /// The file's SHA-256.
        shown_sha256: String,
        /// The SHA-256 that is attested.
        attested_sha256: String,
    },
    /// It is about an earlier build: the file that was shown was changed after the verdict.
    OlderThanFile {
        /// What the file is.
        what: String,
        /// The file that was shown.
        shown: String,
        /// When the evidence was judged.
        judged_ms: u64,
        /// When the file was changed.
        changed_ms: u64,
    },
    /// It is about another kernel.
    OtherKernel {
        /// The kernel that was named.
        named: String,
        /// The kernel that is attested.
        attested: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoEnvelope(why) => write!(
                f,
                "it is no attestation (a DSSE envelope, as vexfs-validate attest writes it): {why}"
            ),
            Refusal::NotSigned => f.write_str(
                "nobody has signed it; sign the verdict with: vexfs-validate attest DIR --key FILE",
            ),
            Refusal::OtherKey { key, signed_by } => write!(
                f,
                "it is signed by another key: by {}, and not by {key}; name that key with --key if \
                 you trust it",
                signed_by.join(", ")
            ),
            Refusal::Forged { key } => write!(
                f,
                "it is forged, or was edited after it was signed: it names key {key}, whose \
                 signature is of other bytes"
            ),
            Refusal::NoAttestation(why) => {
                write!(f, "it is signed, but no attestation of a verdict: {why}")
            }
            Refusal::NotPassed(result) => {
                write!(f, "it attests {result}, and holds only where that is PASSED")
            }
            Refusal::OtherThresholds => f.write_str(
                "it was judged by other thresholds than this vexfs-validate registers; attest the \
                 run's directory again with: vexfs-validate attest DIR --key FILE",
            ),
            Refusal::OtherFile { what, shown, shown_sha256, attested_sha256 } => write!(
                f,
                "it is of another {what}: of the file with SHA-256 {attested_sha256}, and {shown} \
                 has {shown_sha256}; validate that file with: vexfs-validate run"
            ),
            Refusal::OlderThanFile { what, shown, judged_ms, changed_ms } => write!(
                f,
                "it is older than the {what}: {shown} was changed at {}, after the verdict of {}, \
                 and is another file since; validate it with: vexfs-validate run",
                Utc::of_milliseconds(*changed_ms),
                Utc::of_milliseconds(*judged_ms)
            ),
            Refusal::OtherKernel { named, attested } => write!(
                f,
                "it is of another kernel: it holds on {attested}, and not on {named}; validate on \
                 that with: vexfs-validate run --kernel {named}"
            ),
        }
    }
}
