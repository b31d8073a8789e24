//! Plain scalars as Kubernetes reads them: by its own idea of YAML 1.1
//! (`go.yaml.in/yaml/v2/resolve.go`, and `sigs.k8s.io/yaml` for keys), where `y` is true and `010`
//! is eight.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

/// A scalar that Kubernetes does not read, in its words.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum ScalarError {
    /// Its tag says that it is something else.
    #[error("cannot decode !!{found} {word:?} as a !!{wanted}")]
    OtherTag { word: String, found: &'static str, wanted: String },
    /// What is tagged as base64 is none.
    #[error("!!binary value contains invalid base64 data: {0}")]
    NoBase64(base64::DecodeError),
    /// JSON has no such number.
    #[error("unsupported value: {0}")]
    NotInJson(f64),
}

/// What cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    #[error("null is no key")]
    Null,
    #[error("so large a number is no key")]
    LargeNumber,
    #[error("this number is no key")]
    Number,
    #[error("a collection is no key")]
    Collection,
}

/// What a scalar is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number, which may be as small as an `i64` or as large as a `u64`.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
}

impl Scalar {
    /// What is written without quotes and without a tag.
    pub(super) fn plain(word: &str) -> Self {
        match word {
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                Self::Bool(true)
            }
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off"
            | "OFF" => Self::Bool(false),
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            ".nan" | ".NaN" | ".NAN" => Self::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Self::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => Self::Float(f64::NEG_INFINITY),
            _ => number(word).unwrap_or_else(|| Self::Text(word.to_owned())),
        }
    }

    /// What is written with a tag of YAML itself, such as `str`.
    pub(super) fn tagged(word: &str, kind: &str) -> Result<Self, ScalarError> {
        let found = Self::plain(word);
        match (kind, found) {
            ("int", found @ Self::Int(_))
            | ("float", found @ Self::Float(_))
            | ("bool", found @ Self::Bool(_))
            | ("null", found @ Self::Null) => Ok(found),
            // What is larger than an i64 is no float to go-yaml 2 (`resolve` knows no uint64 there).
            #[expect(clippy::cast_precision_loss, reason = "so it is there")]
            ("float", Self::Int(number)) if i64::try_from(number).is_ok() => {
                Ok(Self::Float(number as f64))
            }
            ("int" | "float" | "bool" | "null", found) => {
                let (word, wanted) = (word.to_owned(), kind.to_owned());
                Err(ScalarError::OtherTag { word, found: found.tag(), wanted })
            }
            ("binary", _) => binary(word).map(Self::Text),
            _ => Ok(Self::Text(word.to_owned())),
        }
    }

    fn tag(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
        }
    }

    /// The scalar as a value; what JSON cannot say is an error.
    pub(super) fn into_value(self) -> Result<Value, ScalarError> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(is) => Value::Bool(is),
            Self::Int(number) => Number::from_i128(number).into(),
            // Written to JSON, it has no fraction where there is none.
            Self::Float(float) => match float.to_string().parse::<i64>() {
                Ok(whole) => whole.into(),
                Err(_) => Number::from_f64(float)
                    .map(Value::Number)
                    .ok_or(ScalarError::NotInJson(float))?,
            },
            Self::Text(text) => Value::String(text),
        })
    }

    /// The scalar as a key: keys are strings, whatever they look like.
    pub(super) fn to_key(&self) -> Result<String, KeyError> {
        match self {
            Self::Text(key) => Ok(key.clone()),
            Self::Bool(key) => Ok(key.to_string()),
            Self::Int(key) if i64::try_from(*key).is_ok() => Ok(key.to_string()),
            Self::Int(_) => Err(KeyError::LargeNumber),
            Self::Float(key) => Ok(shortest(*key)),
            Self::Null => Err(KeyError::Null),
        }
    }
}

/// Makes numbers without a fraction whole, however they are written: `80.0` is a port to an API server
/// (`k8s.io/apimachinery/pkg/util/json`).
pub(super) fn whole_numbers(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Number(number) if number.is_f64() => {
            if let Some(Ok(whole)) = number.as_f64().map(|float| Scalar::Float(float).into_value())
            {
                *value = whole;
            }
        }
        _ => {}
    }
}

/// As Go's `strconv.FormatFloat(key, 'g', -1, 32)` writes it.
#[expect(clippy::cast_possible_truncation, reason = "so it is there")]
fn shortest(float: f64) -> String {
    let short = float as f32;
    if short.is_nan() {
        return ".nan".to_owned();
    }
    if short.is_infinite() {
        return if short > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{short:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..MOST_WRITTEN_OUT).contains(&exponent) {
        return short.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Numbers of more digits than this before the point are written with their exponent.
const MOST_WRITTEN_OUT: i32 = 6;

fn number(word: &str) -> Option<Scalar> {
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
    if is_number
        && let Ok(number) = i128::from_str_radix(&format!("{sign}{digits}"), base)
        && (i64::try_from(number).is_ok() || sign.is_empty() && u64::try_from(number).is_ok())
    {
        return Some(Scalar::Int(number));
    }
    let is_decimal = plain.chars().all(|char| char.is_ascii_digit() || "+-.eE".contains(char));
    let float: f64 = plain.parse().ok().filter(|float: &f64| is_decimal && float.is_finite())?;
    Some(Scalar::Float(float))
}

/// What is written in base64, as text.
fn binary(word: &str) -> Result<String, ScalarError> {
    let digits: String = word.chars().filter(|char| !"\r\n".contains(*char)).collect();
    let bytes = STANDARD.decode(digits).map_err(ScalarError::NoBase64)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
            assert_eq!(Scalar::plain(word).into_value().unwrap(), value, "{word}");
        }
    }

    #[test]
    fn a_whole_number_is_a_float_by_its_tag_up_to_the_largest_i64() {
        let float = |word| Scalar::tagged(word, "float");
        assert_eq!(float("80"), Ok(Scalar::Float(80.0)));
        assert!(float("9223372036854775807").is_ok() && float("-9223372036854775808").is_ok());
        assert_eq!(
            float("9223372036854775808").unwrap_err().to_string(),
            "cannot decode !!int \"9223372036854775808\" as a !!float"
        );
    }

    #[test]
    fn keys_are_strings() {
        for (word, key) in [
            ("y", "true"),
            ("010", "8"),
            ("app", "app"),
            ("1.50", "1.5"),
            ("1e6", "1e+06"),
            ("123456.5", "123456.5"),
            ("-.inf", "-.inf"),
        ] {
            assert_eq!(Scalar::plain(word).to_key().unwrap(), key);
        }
    }
}
