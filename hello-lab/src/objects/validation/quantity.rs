//! Quantities: `0.5`, `100m`, `64Mi`, `1e3` (k8s.io/apimachinery/pkg/api/resource).

use serde_json::Value;

use super::{containers, each, listed};

/// What the API server says of a text that is none (`ErrFormatWrong`).
pub const WRONG_FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// How much it is; none for what is no quantity.
#[must_use]
pub fn amount(quantity: &Value) -> Option<f64> {
    if let Some(number) = quantity.as_f64() {
        return Some(number);
    }
    let text = quantity.as_str()?;
    let digits = text.trim_start_matches(['+', '-']);
    if text.len() - digits.len() > 1 {
        return None;
    }
    let end = digits.find(|char: char| !char.is_ascii_digit() && char != '.');
    let (digits, suffix) = digits.split_at(end.unwrap_or(digits.len()));
    if !digits.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Rust reads `1.` and `.5` as well, and refuses a second point.
    let number: f64 = digits.parse().ok()?;
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024_f64,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    Some(sign * number * factor)
}

/// The first of an object's quantities that is none, by its path: those of the containers and the volumes of
/// `spec`.
#[must_use]
pub fn first_wrong(path: &str, spec: &Value) -> Option<String> {
    for (index, volume) in each(&spec["volumes"]).enumerate() {
        let limit = &volume["emptyDir"]["sizeLimit"];
        if !limit.is_null() && amount(limit).is_none() {
            return Some(format!("{path}.volumes[{index}].emptyDir.sizeLimit"));
        }
    }
    let own = containers(path, spec).map(|container| (container.path, container.value));
    let mut all = own.chain(listed(path, spec, "ephemeralContainers"));
    all.find_map(|(path, container)| {
        ["limits", "requests"].into_iter().find_map(|part| {
            let mut quantities = container["resources"][part].as_object().into_iter().flatten();
            let wrong =
                quantities.find(|(_, quantity)| !quantity.is_null() && amount(quantity).is_none());
            wrong.map(|(name, _)| format!("{path}.resources.{part}.{name}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_those_of_the_api() {
        for (text, expected) in [
            ("0.5", 0.5),
            ("500m", 0.5),
            ("1Ki", 1024.0),
            ("-1", -1.0),
            ("+2k", 2000.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("1.", 1.0),
        ] {
            let amount = amount(&json!(text)).unwrap();
            assert!((amount - expected).abs() < 1e-9, "{text}: {amount}");
        }
        for text in ["", "lots", "1 Gi", "--1", "1.2.3", "1ki", "Ki", ".", "1Kim"] {
            assert_eq!(amount(&json!(text)), None, "{text}");
        }
    }
}
