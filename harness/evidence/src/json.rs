//! Reads a line of evidence more strictly than serde does: a line that two readers could understand
//! differently is no record.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The JSON of a line. No object in it has the same field twice, at any depth.
pub(crate) fn parse(line: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(line).map(|Unambiguous(value)| value)
}

/// Whether each field of `read` that `written` has holds the same value. serde also reads a struct
/// from an array and a variant from an object, which the schema does not allow.
pub(crate) fn is_as_written(written: &Value, read: &Value) -> bool {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written
            .iter()
            .all(|(name, value)| read.get(name).is_none_or(|read| is_as_written(value, read))),
        (Value::Array(written), Value::Array(read)) => {
            written.len() == read.len()
                && written.iter().zip(read).all(|(written, read)| is_as_written(written, read))
        }
        // A whole number stands for a float, too.
        (Value::Number(written), Value::Number(read)) => {
            written == read || written.as_f64() == read.as_f64()
        }
        _ => written == read,
    }
}

struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue).map(Unambiguous)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unambiguous(item)) = from.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((name, Unambiguous(value))) = from.next_entry::<String, _>()? {
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format!("field `{name}` appears twice")));
            }
            fields.insert(name, value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::plain(r#"{"a": [1, -1, 1.5, "x", true, null, {}], "b": {"a": 1}}"#, true)]
    #[case::twice(r#"{"a": 1, "a": 1}"#, false)]
    #[case::twice_inside(r#"{"value": [{"a": 1, "a": 2}]}"#, false)]
    #[case::not_a_number(r#"{"a": NaN}"#, false)]
    #[case::infinite(r#"{"a": 1e999}"#, false)]
    #[case::half_a_pair(r#"{"a": "\ud800"}"#, false)]
    #[case::byte_order_mark("\u{feff}{}", false)]
    #[case::something_behind("{} {}", false)]
    fn json_is_unambiguous(#[case] line: &str, #[case] is_json: bool) {
        let parsed = parse(line.as_bytes());
        assert_eq!(parsed.is_ok(), is_json, "{parsed:?}");
        if let Ok(value) = parsed {
            assert_eq!(value, serde_json::from_str::<Value>(line).unwrap());
        }
    }

    #[test]
    fn what_is_nested_beyond_127_levels_is_refused() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(nested(127).as_bytes()).is_ok());
        assert!(parse(nested(128).as_bytes()).is_err());
    }
}
