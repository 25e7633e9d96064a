//! Attestations: verdicts that another machine can believe.
//!
//! A [`Statement`] says for which files, on which kernel and from which evidence the verdict was
//! PASS. It is an in-toto statement with the predicate `test-result`, in a DSSE envelope ([`sign`],
//! [`open`]) that is signed with a person's Ed25519 key. [`Statement::of`] judges the evidence
//! itself, so only a verdict that the judge has just reached can be attested.
//! [`Statement::must_hold_for`] says why an attestation does not hold for the given files.
//!
//! `docs/attestation.md` has the format, and says what a signature means and what it does not.

mod envelope;
mod key;
mod refusal;
mod statement;
#[cfg(test)]
mod tests;
mod thresholds;

pub use envelope::{open, pre_authentication_encoding, sign};
pub use key::{PublicKey, Signer, key_id};
pub use refusal::{NotAttested, Refusal};
pub use statement::{
    BareMetalStanding, EvidenceEnds, Sha256, ShownFile, ShownFiles, SoakEnds, Statement, Subject,
    TestResult, Tested,
};
pub use thresholds::thresholds_sha256;
