//! Attestations: a verdict that can be carried to another machine, and is believed there.
//!
//! A [`Statement`] says for which files, on which kernel and from which evidence the verdict was
//! PASS. It is an in-toto statement with the predicate `test-result`, in a DSSE envelope
//! ([`sign`], [`open`]) that a person's Ed25519 key has signed. [`Statement::of`] judges the evidence
//! itself, so that nothing can be attested but what the judge has just found, and
//! [`Statement::must_hold_for`] says what an attestation does not hold for, and why.
//!
//! `docs/attestation.md` has the format and what a signature says and does not say.

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
