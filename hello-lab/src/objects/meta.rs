//! The parts of `metadata` and `status` that every object has: times, UIDs, generated names, owners,
//! conditions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::Object;

/// The time as the API writes it: RFC 3339 in whole seconds.
#[must_use]
pub fn now() -> String {
    timestamp(Timestamp::now())
}

/// A time as the API writes it.
#[must_use]
pub fn timestamp(time: Timestamp) -> String {
    format!("{time:.0}")
}

/// What generated names are made of: no vowels and no look-alikes, as Kubernetes chooses.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// `n` random characters for a name.
#[must_use]
pub fn random_suffix(n: usize) -> String {
    (0..n).map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())])).collect()
}

/// A number in the characters of generated names, as Kubernetes writes template hashes.
#[must_use]
pub fn safe_encode(number: u32) -> String {
    let digits = number.to_string();
    digits.bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// A random (version 4) UUID, RFC 9562.
#[must_use]
pub fn new_uid() -> String {
    const VERSION: u128 = 4 << 76;
    const VARIANT: u128 = 0b10 << 62;
    let random: u128 = rand::random();
    let bits = random & !(0xf << 76) & !(0b11 << 62) | VERSION | VARIANT;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A `metav1.OwnerReference` to a controller.
#[must_use]
pub fn owner_reference(owner: &Object) -> Value {
    json!({
        "apiVersion": owner.kind().api_version(),
        "kind": owner.kind().resource().kind,
        "name": owner.name(),
        "uid": owner.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Seconds since an RFC 3339 time; 0 for one that is not.
#[must_use]
pub fn seconds_since(time: &str) -> i64 {
    time.parse::<Timestamp>()
        .map_or(0, |time| Timestamp::now().as_second() - time.as_second())
        .max(0)
}

/// A condition; its transition time is that of `status` if nothing changed.
#[must_use]
pub fn condition(status: &Value, name: &str, holds: bool, detail: Option<(&str, String)>) -> Value {
    let holds = if holds { "True" } else { "False" };
    let known = status["conditions"].as_array().into_iter().flatten();
    let since = known
        .filter(|condition| condition["type"] == name && condition["status"] == holds)
        .find_map(|condition| condition["lastTransitionTime"].as_str())
        .map_or_else(now, str::to_owned);
    let mut condition = json!({"type": name, "status": holds, "lastTransitionTime": since});
    if let Some((reason, message)) = detail {
        condition["reason"] = reason.into();
        if !message.is_empty() {
            condition["message"] = message.into();
        }
    }
    condition
}

/// These conditions, and after them those that others have written into `status`.
#[must_use]
pub fn with_those_of_others(status: &Value, mut own: Vec<Value>) -> Vec<Value> {
    let known = status["conditions"].as_array().into_iter().flatten();
    let others = known.filter(|known| own.iter().all(|own| own["type"] != known["type"])).cloned();
    let others: Vec<_> = others.collect();
    own.extend(others);
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_others_stay() {
        let other = json!({"type": "Other", "status": "True"});
        let before = json!({"conditions": [{"type": "Ready", "status": "False"}, other]});
        let ready = json!({"type": "Ready", "status": "True"});
        assert_eq!(with_those_of_others(&before, vec![ready.clone()]), [ready, other]);
        assert!(with_those_of_others(&json!({}), Vec::new()).is_empty());
    }

    #[test]
    fn a_condition_that_stays_keeps_its_time() {
        let old = "2020-01-01T00:00:00Z";
        let before = json!({"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": old},
        ]});
        assert_eq!(condition(&before, "Ready", true, None)["lastTransitionTime"], old);
        assert_ne!(condition(&before, "Ready", false, None)["lastTransitionTime"], old);
    }
}
