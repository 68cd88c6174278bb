//! Compares two JSON documents as Python does.
//!
//! The order of keys does not matter, the last of a repeated key counts, and `1` equals `1.0`. In
//! Python `true` also equals `1`.

use serde_json::{Number, Value};

/// Whether two values are equal; `bools_count` says whether a boolean is a number, as in Python.
pub(super) fn equal(a: &Value, b: &Value, bools_count: bool) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => equal_numbers(a, b),
        (Value::Bool(truth), Value::Number(number))
        | (Value::Number(number), Value::Bool(truth)) => {
            bools_count && equal_numbers(&Number::from(u8::from(*truth)), number)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b, bools_count))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b, bools_count)))
        }
        _ => a == b,
    }
}

/// Numbers keep their text, so integers are compared at any size.
fn equal_numbers(a: &Number, b: &Number) -> bool {
    let (a, b) = (a.to_string(), b.to_string());
    match (integer(&a), integer(&b)) {
        (Some(a), Some(b)) => a == b,
        _ => match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a.partial_cmp(&b) == Some(std::cmp::Ordering::Equal),
            _ => false,
        },
    }
}

/// The text of an integer; JSON allows no leading zeros, so it is unique except for `-0`.
fn integer(number: &str) -> Option<&str> {
    let integer = !number.contains(['.', 'e', 'E']);
    integer.then_some(if number == "-0" { "0" } else { number })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn same_as(a: &str, b: &str, bools_count: bool) -> bool {
        equal(
            &serde_json::from_str(a).unwrap(),
            &serde_json::from_str(b).unwrap(),
            bools_count,
        )
    }

    fn same(a: &str, b: &str) -> bool {
        same_as(a, b, false)
    }

    #[test]
    fn order_of_keys_does_not_count_but_of_items_does() {
        assert!(same(r#"{"a": 1, "b": [1, 2]}"#, r#"{"b": [1, 2], "a": 1}"#));
        assert!(!same("[1, 2]", "[2, 1]"));
        assert!(!same(r#"{"a": 1}"#, r#"{"a": 1, "b": null}"#));
        assert!(same(r#"{"a": 1, "a": 2}"#, r#"{"a": 2}"#));
    }

    #[test]
    fn numbers_are_compared_by_value() {
        assert!(same("1", "1.0"));
        assert!(same("100", "1e2"));
        assert!(same("-0", "0"));
        assert!(!same("18446744073709551615", "18446744073709551616"));
        assert!(!same("1", "2.0"));
    }

    #[test]
    fn true_is_not_one() {
        assert!(!same("true", "1"));
        assert!(!same(r#""1""#, "1"));
        assert!(same_as("[true, 0]", "[1.0, false]", true));
        assert!(!same_as("true", "2", true));
    }
}
