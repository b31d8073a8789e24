//! Plain scalars as Kubernetes reads them: by its own idea of YAML 1.1
//! (`go.yaml.in/yaml/v2/resolve.go`, and `sigs.k8s.io/yaml` for keys), where `y` is true and `010`
//! is eight.

use serde_json::{Number, Value};

/// What a scalar without quotes says.
pub(super) fn resolve(word: &str) -> Value {
    match word {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => number(word).map_or_else(|| Value::String(word.to_owned()), Value::Number),
    }
}

/// What a key without quotes says: keys are strings, whatever they look like.
pub(super) fn resolve_key(word: &str) -> String {
    match resolve(word) {
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        _ => word.to_owned(),
    }
}

fn number(word: &str) -> Option<Number> {
    if !word.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return None;
    }
    let plain = word.replace('_', "");
    let (sign, digits) = match plain.as_bytes().first()? {
        b'-' => ("-", &plain[1..]),
        b'+' => ("", &plain[1..]),
        _ => ("", &plain[..]),
    };
    // The base is that of the prefix; a bare zero in front means octal.
    let (digits, base) = match digits.get(..2) {
        Some("0x" | "0X") => (&digits[2..], 16),
        Some("0b" | "0B") => (&digits[2..], 2),
        Some("0o" | "0O") => (&digits[2..], 8),
        Some(two) if two.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
    if is_number {
        if let Ok(number) = i64::from_str_radix(&format!("{sign}{digits}"), base) {
            return Some(number.into());
        }
        if sign.is_empty()
            && let Ok(number) = u64::from_str_radix(digits, base)
        {
            return Some(number.into());
        }
    }
    let is_decimal = plain.chars().all(|char| char.is_ascii_digit() || "+-.eE".contains(char));
    let float: f64 = plain.parse().ok().filter(|float: &f64| is_decimal && float.is_finite())?;
    // Written to JSON, it has no fraction where there is none.
    #[expect(clippy::cast_possible_truncation, reason = "below 2^53, and without fraction")]
    if float.fract() == 0.0 && float.abs() < 9e15 {
        return Some((float as i64).into());
    }
    Number::from_f64(float)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_what_kubernetes_takes_them_for() {
        for (word, value) in [
            ("y", json!(true)),
            ("Off", json!(false)),
            ("~", json!(null)),
            ("yep", json!("yep")),
            ("80", json!(80)),
            ("+80", json!(80)),
            ("-1", json!(-1)),
            ("1_000", json!(1000)),
            ("010", json!(8)),
            ("0o10", json!(8)),
            ("0x10", json!(16)),
            ("-0b11", json!(-3)),
            ("089", json!(89)),
            ("8e1", json!(80)),
            ("80.5", json!(80.5)),
            (".5", json!(0.5)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.2.3", json!("1.2.3")),
            ("2026-11-23", json!("2026-11-23")),
            ("10:20", json!("10:20")),
            ("0x", json!("0x")),
            ("-", json!("-")),
            ("infinity", json!("infinity")),
            ("1e999", json!("1e999")),
            ("1é", json!("1é")),
        ] {
            assert_eq!(resolve(word), value, "{word}");
        }
    }

    #[test]
    fn keys_are_strings() {
        for (word, key) in [("y", "true"), ("010", "8"), ("app", "app"), ("1.50", "1.5")] {
            assert_eq!(resolve_key(word), key);
        }
    }
}
