//! The statement: what was tested, on which kernel and machine, and the result.

use std::collections::BTreeSet;
use std::fmt;

use evidence::criterion::Criterion;
use evidence::digest::is_sha256;
use evidence::place::Place;
use evidence::processor::Processor;
use evidence::utc::Utc;
use evidence::{EndOfTrail, Event};
use serde::{Deserialize, Serialize};

use super::refusal::{NotAttested, Refusal};
use super::thresholds::thresholds_sha256;
use crate::criterion_verdict::CriterionVerdict;
use crate::judge;
use crate::rule::judgement::State;
use crate::trails::Evidence;

pub(super) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
pub(super) const PREDICATE_TYPE: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// The names of the module and the daemon in the evidence and among the subjects.
const MODULE: &str = "vexfs.ko";
const FUSE: &str = "vexfs_fuse";
const THRESHOLDS: &str = "thresholds";

/// An in-toto statement: the verdict on two files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The type of statements.
    #[serde(rename = "_type")]
    pub kind: String,
    /// What was tested: the module, then the FUSE daemon.
    pub subject: Vec<Subject>,
    /// The type of the predicate.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// The result.
    pub predicate: TestResult,
}

/// Something and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is called.
    pub name: String,
    /// Its hash.
    pub digest: Sha256,
}

impl Subject {
    /// The subject called `name` with this SHA-256.
    pub fn new(name: &str, sha256: &str) -> Self {
        Subject { name: name.to_owned(), digest: Sha256 { sha256: sha256.to_owned() } }
    }
}

/// A digest set with the one algorithm that is used here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sha256 {
    /// In hex.
    pub sha256: String,
}

/// The predicate `test-result` with the fields that this suite adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// `PASSED`.
    pub result: String,
    /// What configured the tests: the registered thresholds.
    pub configuration: Vec<Subject>,
    /// The criteria that PASS.
    pub passed_tests: Vec<Criterion>,
    /// Facts for which the predicate has no field.
    #[serde(rename = "vexfs_validation")]
    pub tested: Tested,
}

/// What it was tested on, and the evidence that it was judged from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// `uname -r` of the guest.
    pub kernel_release: String,
    /// What executed the guest.
    pub accelerator: Processor,
    /// Whether the module may be loaded on bare metal.
    pub bare_metal: BareMetalStanding,
    /// The evidence.
    pub evidence: EvidenceEnds,
    /// Commit of the checkout that ran the tests.
    pub commit: String,
    /// When the evidence was judged for the statement, Unix time in milliseconds.
    pub judged_ms: u64,
}

/// Whether the module may be loaded on bare metal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BareMetalStanding {
    /// All four conditions are met.
    #[serde(rename = "ELIGIBLE")]
    Eligible,
    /// It passed in the VM, and stays there.
    #[serde(rename = "NOT ELIGIBLE")]
    NotEligible,
}

/// The heads of the evidence's chains: each is the hash of all lines before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceEnds {
    /// Of `host.jsonl`.
    pub host: EndOfTrail,
    /// Of `guest.jsonl`.
    pub guest: EndOfTrail,
    /// Of the soaks that were judged with the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub soaks: Vec<SoakEnds>,
}

/// The heads of a soak's chains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoakEnds {
    /// Name of its directory.
    pub name: String,
    /// Of `host.jsonl`, then of `guest.jsonl`.
    pub ends: Vec<EndOfTrail>,
}

/// The files and the kernel that an attestation is checked against; only what is given is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShownFiles<'a> {
    /// The module file.
    pub module: Option<&'a ShownFile>,
    /// The FUSE daemon.
    pub fuse: Option<&'a ShownFile>,
    /// The kernel's release.
    pub kernel: Option<&'a str>,
}

/// A file that is checked against an attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownFile {
    /// Where it is, for a person.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
    /// When it was last changed, as Unix time in milliseconds, if known.
    pub changed_ms: Option<u64>,
}

impl Statement {
    /// Judges `evidence`, and states the verdict if it is PASS.
    ///
    /// # Errors
    /// If the evidence is damaged, its verdict is not PASS, or it does not say what was tested.
    pub fn of(evidence: &Evidence, judged_ms: u64) -> Result<Statement, NotAttested> {
        let verdict = judge::of(evidence);
        let bare_metal = if verdict.bare_metal.state == "ELIGIBLE" {
            BareMetalStanding::Eligible
        } else {
            BareMetalStanding::NotEligible
        };
        Statement::passed(evidence, &verdict.criteria, bare_metal, judged_ms)
    }

    /// Judges the functional criteria of `evidence` alone, in the guest, and states that they PASS.
    ///
    /// # Errors
    /// As [`Statement::of`].
    pub fn of_functional(evidence: &Evidence, judged_ms: u64) -> Result<Statement, NotAttested> {
        let criteria = judge::functional(evidence);
        Statement::passed(evidence, &criteria, BareMetalStanding::NotEligible, judged_ms)
    }

    fn passed(
        evidence: &Evidence,
        criteria: &[CriterionVerdict],
        bare_metal: BareMetalStanding,
        judged_ms: u64,
    ) -> Result<Statement, NotAttested> {
        let damage = evidence.damage();
        if !damage.is_empty() {
            return Err(NotAttested::Damaged(damage));
        }
        let state = criteria.iter().map(|one| one.state).max().unwrap_or(State::Inconclusive);
        if state != State::Pass {
            let others = criteria.iter().filter(|one| one.state != State::Pass);
            let reasons = others.map(|one| {
                let first = one.reasons.iter().max_by_key(|reason| reason.state);
                let first = first.map_or("no reason is told", |reason| &reason.text);
                format!("{} {}: {first}", one.id.id(), one.state)
            });
            return Err(NotAttested::NotPassed(state, reasons.collect()));
        }
        let end = |place| evidence.end(place).ok_or_else(|| untold(format!("no {place}.jsonl")));
        let soaks = evidence.soaks().iter();
        let environment =
            evidence.environment(Place::Guest).ok_or_else(|| untold("no guest's environment"))?;
        one_of(
            "accelerator",
            environments(evidence, &[Place::Guest], |one| one.accelerator.name().to_owned()),
        )?;
        let commits = environments(evidence, &[Place::Guest], |one| one.commit.clone());
        Ok(Statement {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![
                Subject::new(MODULE, &program(evidence, MODULE, &[Place::Guest])?),
                Subject::new(FUSE, &program(evidence, FUSE, &[Place::Host, Place::Guest])?),
            ],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: TestResult {
                result: "PASSED".to_owned(),
                configuration: vec![Subject::new(THRESHOLDS, &thresholds_sha256())],
                passed_tests: criteria.iter().map(|one| one.id).collect(),
                tested: Tested {
                    kernel_release: one_of(
                        "kernel",
                        environments(evidence, &[Place::Guest], |one| one.kernel_release.clone()),
                    )?,
                    accelerator: environment.accelerator,
                    bare_metal,
                    evidence: EvidenceEnds {
                        host: end(Place::Host)?,
                        guest: end(Place::Guest)?,
                        soaks: soaks
                            .map(|one| SoakEnds { name: one.name.clone(), ends: one.ends.clone() })
                            .collect(),
                    },
                    commit: one_of("commit", commits)?,
                    judged_ms,
                },
            },
        })
    }

    fn digest_of(&self, subject: &str) -> Option<&str> {
        let found = self.subject.iter().find(|one| one.name == subject)?;
        Some(&found.digest.sha256)
    }

    /// SHA-256 of the module file.
    pub fn module_sha256(&self) -> &str {
        self.digest_of(MODULE).unwrap_or_default()
    }

    /// SHA-256 of the FUSE daemon.
    pub fn fuse_sha256(&self) -> &str {
        self.digest_of(FUSE).unwrap_or_default()
    }

    /// What it was tested on, and the evidence that it was judged from.
    pub fn tested(&self) -> &Tested {
        &self.predicate.tested
    }

    /// Whether all criteria PASS, and not only the functional ones.
    pub fn is_of_all_criteria(&self) -> bool {
        self.has_passed(&Criterion::ALL)
    }

    fn has_passed(&self, criteria: &[Criterion]) -> bool {
        criteria.iter().all(|one| self.predicate.passed_tests.contains(one))
    }

    /// Checks that it is a complete attestation.
    pub(super) fn must_be_whole(&self) -> Result<(), Refusal> {
        let names: Vec<&str> = self.subject.iter().map(|one| &*one.name).collect();
        if names != [MODULE, FUSE] {
            return Err(Refusal::NoAttestation(format!(
                "it is of {}, and not of {MODULE} and {FUSE}",
                names.join(", ")
            )));
        }
        if self.predicate.result != "PASSED" {
            return Err(Refusal::NotPassed(self.predicate.result.clone()));
        }
        if !self.has_passed(&judge::FUNCTIONAL) {
            let why = "it does not say that the functional criteria PASS".to_owned();
            return Err(Refusal::NoAttestation(why));
        }
        let is_eligible = self.tested().bare_metal == BareMetalStanding::Eligible;
        if is_eligible && !self.is_of_all_criteria() {
            let why = "it says ELIGIBLE without all five criteria".to_owned();
            return Err(Refusal::NoAttestation(why));
        }
        if self.predicate.configuration != [Subject::new(THRESHOLDS, &thresholds_sha256())] {
            return Err(Refusal::OtherThresholds);
        }
        Ok(())
    }

    /// Checks that the attestation holds for the files and the kernel that are shown.
    ///
    /// # Errors
    /// The first file or kernel that it does not hold for.
    pub fn must_hold_for(&self, shown: ShownFiles<'_>) -> Result<(), Refusal> {
        let tested = self.tested();
        for (what, attested, file) in [
            ("module", self.module_sha256(), shown.module),
            ("FUSE daemon", self.fuse_sha256(), shown.fuse),
        ] {
            let Some(file) = file.filter(|file| file.sha256 != attested) else { continue };
            // The hash has decided; the newer time stamp only explains the difference.
            return Err(match file.changed_ms.filter(|&changed| changed > tested.judged_ms) {
                Some(changed_ms) => Refusal::OlderThanFile {
                    what: what.to_owned(),
                    shown: file.path.clone(),
                    judged_ms: tested.judged_ms,
                    changed_ms,
                },
                None => Refusal::OtherFile {
                    what: what.to_owned(),
                    shown: file.path.clone(),
                    shown_sha256: file.sha256.clone(),
                    attested_sha256: attested.to_owned(),
                },
            });
        }
        match shown.kernel {
            Some(kernel) if kernel != tested.kernel_release => Err(Refusal::OtherKernel {
                named: kernel.to_owned(),
                attested: tested.kernel_release.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// How far the module may go, for a person.
    pub fn standing(&self) -> String {
        let tested = self.tested();
        match tested.bare_metal {
            BareMetalStanding::Eligible => "ELIGIBLE for bare metal".to_owned(),
            BareMetalStanding::NotEligible => format!(
                "{} in the VM on {}, NOT ELIGIBLE for bare metal",
                if self.is_of_all_criteria() {
                    "passed"
                } else {
                    "passed the functional criteria, and no others,"
                },
                match tested.accelerator {
                    Processor::Tcg => "an emulated CPU (TCG)",
                    Processor::Kvm => "KVM",
                    Processor::Native | Processor::Unknown => "an unknown CPU",
                }
            ),
        }
    }
}

/// One line: which files, which kernel, how far the module may go, when it was judged.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tested = self.tested();
        let short = |sha256: &str| sha256.get(..16).unwrap_or(sha256).to_owned();
        write!(
            f,
            "{MODULE} {}, with {FUSE} {}, on kernel {}: {}; judged {} from evidence {}",
            short(self.module_sha256()),
            short(self.fuse_sha256()),
            tested.kernel_release,
            self.standing(),
            Utc::of_milliseconds(tested.judged_ms),
            short(&tested.evidence.host.sha256),
        )
    }
}

fn untold(what: impl fmt::Display) -> NotAttested {
    NotAttested::Untold(format!("the evidence does not say what was tested: {what}"))
}

/// What each environment record of `places` says; a run may have several boots.
fn environments(
    evidence: &Evidence,
    places: &[Place],
    of: impl Fn(&evidence::Environment) -> String,
) -> BTreeSet<String> {
    let records = places.iter().flat_map(|&place| evidence.records(place));
    let told = records.filter_map(|record| match &record.event {
        Event::Environment(one) => Some(of(one)),
        _ => None,
    });
    told.collect()
}

/// The single value in `told`, or why there is none.
fn one_of(what: &str, told: BTreeSet<String>) -> Result<String, NotAttested> {
    let all: Vec<String> = told.into_iter().collect();
    match <[String; 1]>::try_from(all) {
        Ok([one]) => Ok(one),
        Err(all) if all.is_empty() => Err(untold(format!("no {what} is named"))),
        Err(all) => Err(NotAttested::Untold(format!(
            "the run is of more than one {what} ({}), and only one can be attested",
            all.join(", ")
        ))),
    }
}

/// SHA-256 of the program called `name`, which must be the same in all `places`.
fn program(evidence: &Evidence, name: &str, places: &[Place]) -> Result<String, NotAttested> {
    let hash = |one: &evidence::Environment| one.programs.get(name).cloned().unwrap_or_default();
    let hash = one_of(name, environments(evidence, places, hash))?;
    if is_sha256(&hash) {
        Ok(hash)
    } else {
        Err(untold(format!("no SHA-256 of {name} is recorded")))
    }
}
