//! Whether the module may be loaded on bare metal: four conditions, all of which must be met.
//!
//! Each condition lists the evidence for it and what is still missing. It is met if there is
//! evidence and nothing is missing.

use evidence::baselines::Figure;
use evidence::clock::Clock;
use evidence::competitor::Competitor;
use evidence::criterion::Criterion;
use evidence::digest::is_sha256;
use evidence::environment::OWN_MODULE_SOURCES;
use evidence::facts::{COMPARED, MODULE, NOT_COMPARABLE};
use evidence::place::Place;
use evidence::processor::Processor;
use evidence::stats::Outcome;
use evidence::thresholds::{ENDURANCE, Rule, RuleScene};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::criterion_verdict::CriterionVerdict;
use crate::rule::judgement::State;
use crate::rule::ratios::JudgedRatio;
use crate::soak::account::Soak;
use crate::trails::Evidence;
use crate::trial_end::TrialEnd;

/// How many trials or figures a line names; it only counts the others.
const NAMED: usize = 4;

/// The answer, with its conditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BareMetal {
    /// `ELIGIBLE` or `NOT ELIGIBLE`.
    pub state: String,
    /// The four conditions.
    pub conditions: Vec<BareMetalCondition>,
    /// The soaks that were considered, including those that do not count.
    pub soaks: Vec<Soak>,
}

/// A condition of bare metal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BareMetalCondition {
    /// `vm`, `improvement`, `endurance` or `comparable`.
    pub id: String,
    /// What is demanded.
    pub demand: String,
    /// Whether the evidence shows it: nothing is missing.
    pub met: bool,
    /// What speaks for it.
    pub evidence: Vec<String>,
    /// What is still missing.
    pub missing: Vec<String>,
}

impl BareMetal {
    /// Looks at the four conditions.
    pub(super) fn of(evidence: &Evidence, criteria: &[CriterionVerdict]) -> Self {
        let conditions = vec![
            vm(evidence, criteria),
            improvement(evidence, criteria),
            endurance(evidence),
            comparable(evidence, criteria),
        ];
        let eligible = conditions.iter().all(|one| one.met);
        BareMetal {
            state: if eligible { "ELIGIBLE" } else { "NOT ELIGIBLE" }.to_owned(),
            conditions,
            soaks: evidence.soaks().to_vec(),
        }
    }
}

impl BareMetalCondition {
    fn new(id: &str, demand: impl Into<String>) -> Self {
        let (evidence, missing) = (Vec::new(), Vec::new());
        BareMetalCondition {
            id: id.to_owned(),
            demand: demand.into(),
            met: false,
            evidence,
            missing,
        }
    }

    /// Adds `text` to the evidence for the condition, or to what is missing.
    fn note(&mut self, holds: bool, text: impl Into<String>) {
        if holds { &mut self.evidence } else { &mut self.missing }.push(text.into());
    }

    /// Notes the state of a criterion that this condition depends on.
    fn rests_on(&mut self, criteria: &[CriterionVerdict], id: Criterion) {
        let state =
            criteria.iter().find(|one| one.id == id).map_or(State::Inconclusive, |one| one.state);
        self.note(state == State::Pass, format!("{}: {state}", id.title()));
    }

    fn concluded(mut self) -> Self {
        self.met = self.missing.is_empty() && !self.evidence.is_empty();
        self
    }
}

fn vm(evidence: &Evidence, criteria: &[CriterionVerdict]) -> BareMetalCondition {
    let mut condition = BareMetalCondition::new("vm", "the tests in the VM are 100 % successful");
    let expected = evidence.expected(Place::Guest);
    let mut others = Vec::new();
    let mut passed = 0;
    for (trial, end) in
        Criterion::ALL.into_iter().flat_map(|one| evidence.trial_ends(one, Place::Guest))
    {
        match (end, expected.contains(trial)) {
            (TrialEnd::Passed, true) => passed += 1,
            (TrialEnd::Passed, false) => others.push(format!("{trial} (not in the manifest)")),
            (TrialEnd::Skipped(_), false) => {}
            _ => others.push(format!("{trial} ({})", end.words())),
        }
    }
    let whole = passed == expected.len() && passed > 0;
    condition.note(whole, format!("{passed} of {} trials in the guest passed", expected.len()));
    if !others.is_empty() {
        condition.note(false, named(&others));
    }
    let passing = criteria.iter().filter(|one| one.state == State::Pass).count();
    let all = passing == Criterion::ALL.len();
    condition.note(all, format!("{passing} of {} criteria PASS", Criterion::ALL.len()));
    condition.concluded()
}

/// The first few of `items`, and how many more there are.
fn named(items: &[String]) -> String {
    let more = items.len().saturating_sub(NAMED);
    let first = items[..items.len() - more].join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

fn improvement(evidence: &Evidence, criteria: &[CriterionVerdict]) -> BareMetalCondition {
    let mut condition = BareMetalCondition::new(
        "improvement",
        "in the VM, on KVM, the kernel module is faster than FUSE: the lower bound is above 1 \
         wherever it must be",
    );
    condition.rests_on(criteria, Criterion::KernelVsFuse);
    match evidence.processor(Place::Guest) {
        Some(Processor::Kvm) => {}
        Some(Processor::Tcg) => condition.note(
            false,
            "it was measured on an emulated CPU (TCG), which never counts here; run it where KVM \
             boots the kernel",
        ),
        _ => condition.note(false, "there was no guest"),
    }
    let scene = RuleScene { place: Place::Guest, emulated: false, clock: Clock::Wall };
    let strict =
        |rule: &&Rule| rule.criterion == Criterion::KernelVsFuse && rule.at(scene).strictly;
    for rule in evidence::thresholds::ALL.iter().filter(strict) {
        let on_kvm: Vec<&JudgedRatio> = ratios(criteria)
            .filter(|one| {
                one.rule == rule.id
                    && one.accelerator == Some(Processor::Kvm)
                    && one.clock == Clock::Wall
            })
            .collect();
        if on_kvm.is_empty() {
            condition.note(false, format!("{}: not measured on KVM", rule.title));
        }
        for one in on_kvm {
            let numbers =
                one.ratio.map_or_else(|| "no ratio".to_owned(), |ratio| ratio.to_string());
            let holds = one.improvement && one.outcome == Outcome::Pass;
            condition.note(holds, format!("{}: {numbers} on KVM", rule.title));
        }
    }
    condition.concluded()
}

fn ratios(criteria: &[CriterionVerdict]) -> impl Iterator<Item = &JudgedRatio> {
    criteria.iter().flat_map(|one| &one.ratios)
}

fn endurance(evidence: &Evidence) -> BareMetalCondition {
    let mut condition = BareMetalCondition::new(
        "endurance",
        format!(
            "the module endures a soak of at least {} h and {} load/unload cycles under load on \
             each kernel of the matrix ({})",
            ENDURANCE.seconds / 3600,
            ENDURANCE.cycles,
            ENDURANCE.kernels.join(", ")
        ),
    );
    let module = ModuleUnderTest::of(evidence);
    for &series in ENDURANCE.kernels {
        let soaks: Vec<&Soak> =
            evidence.soaks().iter().filter(|one| one.series(&ENDURANCE) == Some(series)).collect();
        if soaks.is_empty() {
            condition.note(
                false,
                format!(
                    "no soak on {series}; make one with: vexfs-validate soak --for {}h --kernel \
                     {series}",
                    ENDURANCE.seconds / 3600
                ),
            );
        }
        // A longer soak makes up for one that was too short; nothing makes up for a soak that
        // failed.
        let counts = |soak: &&&Soak| short(soak, module.as_ref()).is_empty();
        let counting = soaks.iter().find(counts);
        for soak in &soaks {
            let short = short(soak, module.as_ref());
            let text = format!("{}: {}", soak.name, soak.summary());
            if short.is_empty() {
                condition.note(true, text);
            } else if counting.is_none() || !soak.faults.is_empty() {
                condition.note(false, format!("{text}; does not count: {}", short.join("; ")));
            }
        }
    }
    condition.concluded()
}

/// The module that a run tested.
struct ModuleUnderTest<'e> {
    srcversion: &'e str,
    sha256: &'e str,
    kernel_release: &'e str,
    commit: &'e str,
    /// SHA-256 of its sources, if it is somebody's own.
    own_sources: Option<&'e str>,
}

impl<'e> ModuleUnderTest<'e> {
    fn of(evidence: &'e Evidence) -> Option<Self> {
        let mut of_module = evidence
            .facts(Place::Guest, MODULE)
            .filter(|fact| Criterion::of_trial(fact.trial) == Some(Criterion::Module));
        let srcversion = of_module.find_map(|fact| fact.value["srcversion"].as_str())?;
        let guest = evidence.environment(Place::Guest)?;
        Some(ModuleUnderTest {
            srcversion,
            sha256: guest.programs.get("vexfs.ko").map_or("", String::as_str),
            kernel_release: &guest.kernel_release,
            commit: &guest.commit,
            own_sources: guest.programs.get(OWN_MODULE_SOURCES).map(String::as_str),
        })
    }

    /// Why `soak` tested another module. `srcversion` covers only the C sources, not the engine. On
    /// the same kernel the module file must therefore be the same, and on another kernel it must be
    /// built from the same commit, or for somebody's own module from the same sources.
    fn differs(&self, soak: &Soak) -> Option<String> {
        if soak.srcversion != self.srcversion {
            return Some(format!(
                "it is of another module (srcversion {}, this run's is {})",
                soak.srcversion, self.srcversion
            ));
        }
        if soak.kernel_release == self.kernel_release {
            let same = soak.module_sha256 == self.sha256 && !self.sha256.is_empty();
            return (!same).then(|| "its module file is another than this run's".to_owned());
        }
        if self.own_sources.is_some() || soak.own_sources.is_some() {
            let same = self.own_sources == soak.own_sources.as_deref()
                && self.own_sources.is_some_and(is_sha256);
            return (!same).then(|| {
                "it may be of another module: it is not recorded that both were built from the \
                 same sources"
                    .to_owned()
            });
        }
        if self.srcversion.is_empty() {
            return Some("it may be of another module: this one has no srcversion".to_owned());
        }
        if soak.commit == self.commit && !says_all(self.commit) {
            return Some(format!(
                "it may be of another module: commit {} does not say of which sources",
                self.commit
            ));
        }
        (soak.commit != self.commit).then(|| {
            format!("it is of another commit ({}, this run's is {})", soak.commit, self.commit)
        })
    }
}

/// Whether a commit identifies the sources that were built. It does not if the checkout had
/// uncommitted changes.
fn says_all(commit: &str) -> bool {
    commit != "unknown" && !commit.ends_with("-dirty")
}

/// Why `soak` does not count for the run.
fn short(soak: &Soak, module: Option<&ModuleUnderTest>) -> Vec<String> {
    let mut short = soak.shortfall(&ENDURANCE);
    match module {
        None => short.push("this run does not say which module it tested".to_owned()),
        Some(module) => short.extend(module.differs(soak)),
    }
    short
}

fn comparable(evidence: &Evidence, criteria: &[CriterionVerdict]) -> BareMetalCondition {
    let mut condition = BareMetalCondition::new(
        "comparable",
        "the results are directly comparable to the competitors': same data, same protocol, \
         measured live, recorded figures only where they are of the same operation, dimension and \
         size",
    );
    condition.rests_on(criteria, Criterion::Dataset);
    condition.rests_on(criteria, Criterion::Baseline);
    for competitor in Competitor::ALL {
        let rules = format!("fuse_over_{}_", competitor.id());
        let places: Vec<String> = Place::ALL
            .into_iter()
            .filter(|&place| {
                ratios(criteria).any(|one| {
                    one.rule.starts_with(&rules) && one.place == place && one.ratio.is_some()
                })
            })
            .map(|place| format!("in the {place}"))
            .collect();
        if places.is_empty() {
            condition.note(false, format!("{competitor} was not measured"));
        } else {
            condition.note(true, format!("{competitor} was measured {}", places.join(" and ")));
        }
    }
    recorded(evidence, &mut condition);
    condition.concluded()
}

fn recorded(evidence: &Evidence, condition: &mut BareMetalCondition) {
    let facts = |name| evidence.all_facts(name).map(|fact| fact.value);
    let mut compared: Vec<String> = Vec::new();
    for value in facts(COMPARED) {
        match serde_json::from_value::<Figure>(value["figure"].clone()) {
            Ok(figure) if !compared.contains(&figure.to_string()) => {
                compared.push(figure.to_string());
            }
            Ok(_) => {}
            Err(error) => condition.note(false, format!("a compared figure is none: {error}")),
        }
    }
    let some = !compared.is_empty();
    condition.note(
        some,
        if some {
            format!("recorded figures compared at their own size: {}", compared.join(", "))
        } else {
            "no recorded figure was compared".to_owned()
        },
    );
    let reasons: Option<usize> =
        facts(NOT_COMPARABLE).filter_map(Value::as_array).map(Vec::len).max();
    match reasons {
        Some(count) => {
            condition.note(true, format!("{count} comparisons are shown as not comparable"))
        }
        None => condition.note(false, "it is not shown which recorded figures are not comparable"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
