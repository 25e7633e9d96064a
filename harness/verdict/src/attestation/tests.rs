//! What is attested, what is not, and when an attestation does not hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::place::Place;
use evidence::thresholds::ENDURANCE;
use evidence::{Event, TrialState};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::thresholds::figures;
use super::*;
use crate::bare_metal::tests::{named_soaks, on_kvm, soaks};
use crate::made::{MadeRun, finished};
use crate::rule::judgement::State;
use crate::trails::Evidence;

const RELEASE: &str = "6.12.117+deb12-amd64";
const JUDGED_MS: u64 = 1_795_358_701_000;

fn hash(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// Adds the programs to every environment of the run.
fn told(mut run: MadeRun) -> MadeRun {
    for event in run.host.iter_mut().chain(&mut run.guest) {
        if let Event::Environment(one) = event {
            one.programs.insert("vexfs.ko".into(), hash('a'));
            one.programs.insert("vexfs_fuse".into(), hash('b'));
        }
    }
    run
}

fn read(run: MadeRun) -> (TempDir, Evidence) {
    let dir = TempDir::new().unwrap();
    run.write(dir.path());
    let evidence = Evidence::read(dir.path()).unwrap();
    (dir, evidence)
}

fn stated(run: MadeRun) -> Result<Statement, NotAttested> {
    Statement::of(&read(run).1, JUDGED_MS)
}

fn signer() -> Signer {
    Signer::new([1, 2, 3, 4, 5, 6, 7, 8], &[7; 32])
}

fn attested() -> (Statement, String) {
    let statement = stated(told(MadeRun::healthy())).unwrap();
    let envelope = sign(&statement, &signer());
    (statement, envelope)
}

fn shown(sha256: &str, changed_ms: u64) -> ShownFile {
    ShownFile { path: "a/vexfs.ko".into(), sha256: sha256.into(), changed_ms: Some(changed_ms) }
}

#[test]
fn a_run_that_passes_is_attested_with_all_that_it_is_bound_to() {
    let (_dir, evidence) = read(told(MadeRun::healthy()));
    let statement = Statement::of(&evidence, JUDGED_MS).unwrap();
    assert_eq!((statement.module_sha256(), statement.fuse_sha256()), (&*hash('a'), &*hash('b')));
    let tested = statement.tested();
    assert_eq!(tested.kernel_release, RELEASE);
    assert_eq!(tested.bare_metal, BareMetalStanding::NotEligible);
    assert_eq!(Some(&tested.evidence.host), evidence.end(Place::Host).as_ref());
    assert_eq!(Some(&tested.evidence.guest), evidence.end(Place::Guest).as_ref());
    let text = serde_json::to_value(&statement).unwrap();
    assert_eq!(text["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(text["predicateType"], "https://in-toto.io/attestation/test-result/v0.1");
    assert_eq!(text["predicate"]["result"], "PASSED");
    assert_eq!(text["predicate"]["passedTests"].as_array().unwrap().len(), 5);
    assert_eq!(text["predicate"]["configuration"][0]["name"], "thresholds");
    assert_eq!(text["predicate"]["vexfs_validation"]["accelerator"], "tcg");
    let line = statement.to_string();
    assert!(line.contains(RELEASE) && line.contains("emulated CPU (TCG), NOT ELIGIBLE"), "{line}");
    assert!(line.contains("2026-11-22 14:45:01 UTC") && !line.contains('\n'), "{line}");
}

#[test]
fn a_module_that_may_leave_the_vm_is_attested_as_eligible_with_its_soaks() {
    let (_dir, mut evidence) = read(told(on_kvm()));
    let mut all = named_soaks(soaks());
    for soak in &mut all {
        // Make them soaks of this module: the same file on the run's own kernel.
        soak.module_sha256 = hash('a');
    }
    evidence.soaks = all;
    let statement = Statement::of(&evidence, JUDGED_MS).unwrap();
    let tested = statement.tested();
    assert_eq!(tested.bare_metal, BareMetalStanding::Eligible, "{statement}");
    assert!(tested.evidence.soaks.iter().all(|soak| soak.ends.len() == 2));
    assert_eq!(tested.evidence.soaks.len(), ENDURANCE.kernels.len());
    assert!(statement.to_string().contains(": ELIGIBLE for bare metal"), "{statement}");
}

/// The guest's part of a run, without what measures: a kernel upgrade runs no more.
fn upgrade() -> MadeRun {
    let mut run = told(MadeRun::healthy());
    let is_functional = |trial: &str| trial.starts_with("fuse::") || trial.starts_with("module::");
    run.host.retain(|event| !matches!(event, Event::Expected { at: Place::Host, .. }));
    for event in &mut run.host {
        if let Event::Expected { trials, .. } = event {
            trials.retain(|trial| is_functional(trial));
        }
    }
    run.guest.retain(|event| match event {
        Event::TrialStarted { trial, .. } | Event::TrialFinished { trial, .. } => {
            is_functional(trial)
        }
        Event::Measurement(_) => false,
        _ => true,
    });
    run
}

#[test]
fn functional_criteria_are_attested_as_no_more_than_they_are() {
    let (_dir, evidence) = read(upgrade());
    assert_eq!(Statement::of(&evidence, JUDGED_MS).unwrap_err().state(), State::Inconclusive);
    let statement = Statement::of_functional(&evidence, JUDGED_MS).unwrap();
    assert_eq!(statement.predicate.passed_tests, crate::FUNCTIONAL);
    assert!(!statement.is_of_all_criteria());
    assert_eq!(statement.tested().bare_metal, BareMetalStanding::NotEligible);
    assert_eq!(
        statement.standing(),
        "passed the functional criteria, and no others, in the VM on an emulated CPU (TCG), NOT \
         ELIGIBLE for bare metal"
    );
    let (whole, _) = attested();
    assert!(whole.is_of_all_criteria());

    let mut failed = upgrade();
    failed.guest.extend(finished("module::loads", TrialState::Failed, "1 allocation is left"));
    let refused = Statement::of_functional(&read(failed).1, JUDGED_MS).unwrap_err();
    assert_eq!(refused.state(), State::Fail);
    assert!(refused.to_string().contains("1 allocation is left"), "{refused}");

    // Nothing of the module was expected: that proves nothing.
    let mut empty = upgrade();
    for event in &mut empty.host {
        if let Event::Expected { trials, .. } = event {
            trials.retain(|trial| trial.starts_with("fuse::"));
        }
    }
    let refused = Statement::of_functional(&read(empty).1, JUDGED_MS).unwrap_err();
    assert_eq!(refused.state(), State::Inconclusive);
}

#[test]
fn a_signed_statement_claims_no_more_than_its_tests() {
    let (_dir, evidence) = read(upgrade());
    let statement = Statement::of_functional(&evidence, JUDGED_MS).unwrap();
    let opened = |statement: &Statement| {
        let envelope = sign(statement, &signer());
        open(envelope.as_bytes(), &signer().public_key()).map(|_| ())
    };
    opened(&statement).unwrap();
    let mut eligible = statement.clone();
    eligible.predicate.tested.bare_metal = BareMetalStanding::Eligible;
    let mut without = statement;
    without.predicate.passed_tests.pop();
    for (statement, says) in [
        (&eligible, "ELIGIBLE without all five criteria"),
        (&without, "does not say that the functional criteria PASS"),
    ] {
        let refused = opened(statement).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn nothing_but_a_pass_is_attested() {
    let mut failed = told(MadeRun::healthy());
    failed.guest.extend(finished("module::loads", TrialState::Failed, "the log has a warning"));
    let refused = stated(failed).unwrap_err();
    assert_eq!(refused.state(), State::Fail);
    let words = refused.to_string();
    assert!(words.contains("the verdict is FAIL") && words.contains("the log has a warning"));

    let mut open = told(MadeRun::healthy());
    open.guest.retain(|event| !matches!(event, Event::SelfTest { .. }));
    let refused = stated(open).unwrap_err();
    assert_eq!(refused.state(), State::Inconclusive);
    assert!(refused.to_string().contains("the verdict is INCONCLUSIVE"), "{refused}");
}

#[test]
fn a_broken_chain_is_not_attested() {
    let dir = TempDir::new().unwrap();
    told(MadeRun::healthy()).write(dir.path());
    let file = dir.path().join("guest.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let edited = text.replacen("\"seconds\":0.1", "\"seconds\":0.2", 1);
    assert_ne!(edited, text);
    std::fs::write(&file, edited).unwrap();
    let refused = Statement::of(&Evidence::read(dir.path()).unwrap(), JUDGED_MS).unwrap_err();
    assert!(matches!(refused, NotAttested::Damaged(_)), "{refused}");
    assert!(refused.to_string().contains("the chain of the evidence is broken"), "{refused}");
    assert_eq!(refused.state(), State::Inconclusive);
}

#[rstest::rstest]
#[case::no_module(&["vexfs.ko"], "missing", "no SHA-256 of vexfs.ko")]
#[case::no_daemon(&["vexfs_fuse"], "missing", "no SHA-256 of vexfs_fuse")]
fn what_was_tested_must_be_told(#[case] programs: &[&str], #[case] hash: &str, #[case] says: &str) {
    let mut run = told(MadeRun::healthy());
    for event in run.host.iter_mut().chain(&mut run.guest) {
        if let Event::Environment(one) = event {
            for program in programs {
                one.programs.insert((*program).into(), hash.into());
            }
        }
    }
    let refused = stated(run).unwrap_err().to_string();
    assert!(refused.contains(says), "{refused}");
}

#[test]
fn another_daemon_on_the_host_than_in_the_guest_is_not_attested() {
    let mut run = told(MadeRun::healthy());
    let Event::Environment(one) = &mut run.host[0] else { panic!("the first event") };
    one.programs.insert("vexfs_fuse".into(), hash('c'));
    let refused = stated(run).unwrap_err().to_string();
    assert!(refused.contains("more than one vexfs_fuse"), "{refused}");
}

#[test]
fn the_key_that_signed_opens_it() {
    let (statement, envelope) = attested();
    let key = PublicKey::read(&signer().public_key().to_text()).unwrap();
    assert_eq!(key.id(), "0807060504030201");
    assert_eq!(open(envelope.as_bytes(), &key).unwrap(), statement);
    let envelope: Value = serde_json::from_str(&envelope).unwrap();
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
}

/// The example of DSSE's own protocol description.
#[test]
fn what_is_signed_is_the_pae_of_dsse() {
    let bytes = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
    assert_eq!(bytes, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
}

/// Changes the statement in an envelope and leaves its signature.
fn edited(envelope: &str, edit: impl Fn(&mut Value)) -> String {
    let mut envelope: Value = serde_json::from_str(envelope).unwrap();
    let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    let mut statement: Value = serde_json::from_slice(&payload).unwrap();
    edit(&mut statement);
    envelope["payload"] = json!(STANDARD.encode(statement.to_string()));
    envelope.to_string()
}

#[test]
fn what_was_edited_is_refused_whatever_was_edited() {
    let (_, envelope) = attested();
    let key = signer().public_key();
    let refuses = |text: &str| {
        let refusal = open(text.as_bytes(), &key).unwrap_err();
        assert!(matches!(refusal, Refusal::Forged { .. }), "{refusal}");
        assert!(refusal.to_string().contains("forged, or was edited"), "{refusal}");
    };
    type Edit = fn(&mut Value);
    let edits: [Edit; 4] = [
        |one| one["predicate"]["vexfs_validation"]["bare_metal"] = json!("ELIGIBLE"),
        |one| one["predicate"]["vexfs_validation"]["kernel_release"] = json!("6.1.0"),
        |one| one["subject"][0]["digest"]["sha256"] = json!(hash('f')),
        |one| one["new"] = json!(1),
    ];
    for edit in edits {
        refuses(&edited(&envelope, edit));
    }
    let mut retyped: Value = serde_json::from_str(&envelope).unwrap();
    retyped["payloadType"] = json!("application/json");
    refuses(&retyped.to_string());
    let mut bitten: Value = serde_json::from_str(&envelope).unwrap();
    bitten["signatures"][0]["sig"] = json!(STANDARD.encode([0; 64]));
    refuses(&bitten.to_string());
}

#[test]
fn another_key_is_told_from_a_forgery() {
    let (statement, envelope) = attested();
    let other = Signer::new([8; 8], &[9; 32]);
    let refusal = open(envelope.as_bytes(), &other.public_key()).unwrap_err();
    let words = refusal.to_string();
    assert!(words.contains("another key: by 0807060504030201, and not by 0808080808080808"));
    // It claims the id of our key, but has a secret of its own.
    let forger = Signer::new([1, 2, 3, 4, 5, 6, 7, 8], &[9; 32]);
    let refusal = open(sign(&statement, &forger).as_bytes(), &signer().public_key()).unwrap_err();
    assert!(matches!(refusal, Refusal::Forged { .. }), "{refusal}");
    let mut nobody: Value = serde_json::from_str(&envelope).unwrap();
    nobody["signatures"] = json!([]);
    let refusal = open(nobody.to_string().as_bytes(), &signer().public_key()).unwrap_err();
    assert_eq!(refusal, Refusal::NotSigned);
}

#[test]
fn a_second_signature_hurts_nobody() {
    let (statement, envelope) = attested();
    let mut both: Value = serde_json::from_str(&envelope).unwrap();
    let other: Value =
        serde_json::from_str(&sign(&statement, &Signer::new([8; 8], &[9; 32]))).unwrap();
    both["signatures"].as_array_mut().unwrap().insert(0, other["signatures"][0].clone());
    assert_eq!(open(both.to_string().as_bytes(), &signer().public_key()).unwrap(), statement);
}

#[rstest::rstest]
#[case::other_type(|one: &mut Statement| one.kind = "x".into(), "it is of type x")]
#[case::other_predicate(|one: &mut Statement| one.predicate_type = "y".into(), "it is of type y")]
#[case::failed(|one: &mut Statement| one.predicate.result = "FAILED".into(), "it attests FAILED")]
#[case::of_nothing(|one: &mut Statement| one.subject.clear(), "not of vexfs.ko and vexfs_fuse")]
#[case::other_thresholds(
    |one: &mut Statement| one.predicate.configuration[0].digest.sha256 = "0".into(),
    "other thresholds"
)]
fn a_signature_makes_no_attestation_of_something_else(
    #[case] change: fn(&mut Statement),
    #[case] says: &str,
) {
    let (mut statement, _) = attested();
    change(&mut statement);
    let envelope = sign(&statement, &signer());
    let words = open(envelope.as_bytes(), &signer().public_key()).unwrap_err().to_string();
    assert!(words.contains(says), "{words}");
}

#[test]
fn what_is_no_envelope_is_said_to_be_none() {
    for text in ["", "{}", "PASS", r#"{"payloadType":"x","payload":"!","signatures":[]}"#] {
        let refusal = open(text.as_bytes(), &signer().public_key()).unwrap_err();
        assert!(matches!(refusal, Refusal::NoEnvelope(_)), "{text}: {refusal}");
    }
}

#[test]
fn it_holds_for_its_own_files_and_kernel_and_for_no_others() {
    let (statement, _) = attested();
    let module = shown(&hash('a'), JUDGED_MS + 1);
    let fuse = shown(&hash('b'), 0);
    let all = ShownFiles { module: Some(&module), fuse: Some(&fuse), kernel: Some(RELEASE) };
    // The same file, copied since the verdict.
    statement.must_hold_for(all).unwrap();
    statement.must_hold_for(ShownFiles::default()).unwrap();
    let refusal = |shown| statement.must_hold_for(shown).unwrap_err();
    let (before, since) = (shown(&hash('c'), 5), shown(&hash('c'), JUDGED_MS + 5));
    let another = refusal(ShownFiles { module: Some(&before), ..all });
    assert!(matches!(&another, Refusal::OtherFile { .. }), "{another}");
    assert!(another.to_string().contains("it is of another module"), "{another}");
    let older = refusal(ShownFiles { module: Some(&since), ..all });
    assert!(matches!(&older, Refusal::OlderThanFile { .. }), "{older}");
    assert!(older.to_string().contains("it is older than the module"), "{older}");
    let daemon = refusal(ShownFiles { fuse: Some(&before), ..all });
    assert!(daemon.to_string().contains("it is of another FUSE daemon"), "{daemon}");
    let kernel = refusal(ShownFiles { kernel: Some("6.1.0-56-amd64"), ..all });
    assert!(kernel.to_string().contains("run --kernel 6.1.0-56-amd64"), "{kernel}");
}

#[rstest::rstest]
#[case::secret(&STANDARD.encode([b"Ed".as_slice(), &[0; 102]].concat()), "secret key")]
#[case::short("RWQ=", "Ed25519 keys of 42 bytes")]
#[case::text("not base64!", "not base64")]
#[case::empty("", "not base64")]
#[case::other_algorithm(&STANDARD.encode([0; 42]), "Ed25519 keys of 42 bytes")]
#[case::weak(&STANDARD.encode([b"Ed".as_slice(), &[0; 40]].concat()), "weak key")]
fn what_is_no_public_key_is_refused(#[case] line: &str, #[case] says: &str) {
    let words = PublicKey::read(&format!("untrusted comment: x\n{line}\n")).unwrap_err();
    assert!(words.contains(says), "{words}");
}

/// Covers every rule in three scenes, and the soaks: changing any threshold changes the hash.
#[test]
fn the_hash_of_the_thresholds_is_of_every_figure() {
    let text = figures();
    assert_eq!(text.lines().count(), 3 * (evidence::thresholds::ALL.len() + 1) + 1);
    assert!(
        text.contains("fuse_over_chromadb_insertion host emulated=false clock=wall threshold=2.2")
    );
    assert!(
        text.ends_with("soak kernels=6.1,6.12,6.12-rt,7.3 seconds=7200 cycles=1000 alpha=0.05\n"),
        "{text}"
    );
}
