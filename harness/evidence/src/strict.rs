//! Checks of values for which the Rust type allows too much. A record with a bad value is rejected.
//!
//! `docs/evidence.schema.json` is derived from the types, whose attributes name the same bounds.

use serde::de::{Deserialize, Deserializer, Error};

/// The smallest number of seconds.
pub(crate) const NO_TIME: i32 = 0;
/// The smallest share.
pub(crate) const NONE: i32 = 0;
/// The largest share.
pub(crate) const ALL: i32 = 1;
/// The smallest count of things of which there must be at least one.
pub(crate) const ONE: u8 = 1;
/// A SHA-256, in hex.
pub(crate) const SHA256_HEX: &str = "^[0-9a-f]{64}$";

/// Reads an optional value whose field may not be left out: `null` stands for no value.
pub(crate) fn told<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(from)
}

/// Reads an optional value whose field is left out where there is none: `null` is no value then.
pub(crate) fn not_null<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(from).map(Some)
}

/// A share from 0 to 1, or `null`.
pub(crate) fn share<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let share: Option<f64> = told(from)?;
    if share.is_some_and(|share| !(f64::from(NONE)..=f64::from(ALL)).contains(&share)) {
        return Err(D::Error::custom("a recall must be from 0 to 1"));
    }
    Ok(share)
}

/// A number of seconds, which is not negative.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let seconds = f64::deserialize(from)?;
    if seconds < f64::from(NO_TIME) {
        return Err(D::Error::custom("a time must not be negative"));
    }
    Ok(seconds)
}

/// A number that must be at least one.
pub(crate) fn some<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + PartialOrd + From<u8>,
    D: Deserializer<'de>,
{
    let number = T::deserialize(from)?;
    if number < T::from(ONE) {
        return Err(D::Error::custom("the number must be at least 1"));
    }
    Ok(number)
}

/// A SHA-256, in hex.
pub(crate) fn sha256<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let digest = String::deserialize(from)?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digest.len() != 64 || !digest.bytes().all(is_hex) {
        return Err(D::Error::custom("a SHA-256 must be 64 hex digits"));
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::event::Record;

    fn record(fields: Value) -> Value {
        let mut record = json!({
            "v": 1, "seq": 0, "prev": "", "time_ms": 0, "place": "host", "pid": 1,
        });
        record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        record
    }

    fn ended() -> Value {
        json!({
            "event": "guest_ended", "how": "", "fault": "none", "code": null, "console_tail": [],
            "boot_seconds": null, "first_output_seconds": null, "total_seconds": 3.5,
            "accelerator": "kvm", "evidence": { "lines": 1, "sha256": "0".repeat(64) },
        })
    }

    fn measured() -> Value {
        let side = json!({ "contender": "x", "recall": 1, "description": null });
        let noise = json!({ "wall_us": 1, "waiting_us": null, "stolen_us": 0 });
        let controls = json!({ "again_ns": [1], "slowed_ns": [1] });
        let round = json!({
            "order": "AB", "a_ns": [1], "b_ns": [1], "controls": controls, "noise": noise,
        });
        let cut_short = json!({ "rounds": 60, "seconds": 1.0, "left": 0.5 });
        json!({
            "event": "measurement", "trial": "x", "rule": "x", "threshold": 1.0, "strictly": true,
            "decides": true, "clock": "wall", "operations_per_round": 1, "warmups": 0,
            "slowed_by": 0.05, "a": side, "b": side, "passes": [[round]],
            "cut_short": cut_short,
        })
    }

    #[rstest::rstest]
    #[case::less_than_no_time(ended(), "/total_seconds", json!(-0.1))]
    #[case::another_accelerator(ended(), "/accelerator", json!("native"))]
    #[case::no_line(ended(), "/evidence/lines", json!(0))]
    #[case::no_digest(ended(), "/evidence/sha256", json!("00"))]
    #[case::recall_above_all(measured(), "/a/recall", json!(1.01))]
    #[case::recall_below_none(measured(), "/b/recall", json!(-1))]
    #[case::no_end(ended(), "/evidence", json!(null))]
    #[case::no_controls(measured(), "/passes/0/0/controls", json!(null))]
    #[case::no_noise(measured(), "/passes/0/0/noise", json!(null))]
    #[case::not_cut_short(measured(), "/cut_short", json!(null))]
    fn impossible_values_are_refused(#[case] of: Value, #[case] at: &str, #[case] wrong: Value) {
        let mut record = record(of);
        assert!(serde_json::from_value::<Record>(record.clone()).is_ok());
        *record.pointer_mut(at).unwrap() = wrong;
        assert!(serde_json::from_value::<Record>(record).is_err());
    }

    #[rstest::rstest]
    #[case::code(ended(), "", "code")]
    #[case::boot(ended(), "", "boot_seconds")]
    #[case::recall(measured(), "/a", "recall")]
    #[case::waiting(measured(), "/passes/0/0/noise", "waiting_us")]
    fn a_missing_field_is_refused(#[case] of: Value, #[case] at: &str, #[case] name: &str) {
        let mut record = record(of);
        record.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        assert!(serde_json::from_value::<Record>(record).is_err());
    }
}
