//! What is recorded of kubectl's reading of odd YAML, which netpol's tests compare with its own, is what this
//! machine's kubectl reads.

use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use end_to_end::{repository, run};
use serde_json::{Value, json};

/// Makes an object of a text that is a mapping: kubectl prints nothing else.
const HEAD: &str = "apiVersion: example.com/v1\nkind: Odd\nmetadata: {name: odd}\n";

/// Whether `HEAD` can stand before a text, and does not change what it is.
fn is_fields(case: &Value) -> bool {
    let text = case["text"].as_str().unwrap();
    let begins =
        text.chars().next().is_some_and(|first| !" \t\r\n{[-%?:|>.#\u{feff}".contains(first));
    let values = case["kubectl"].as_array();
    let is_mapping = values.is_none_or(|values| matches!(&values[..], [Value::Object(_)]));
    let has_head = ["metadata:", "kind:"].iter().any(|field| text.contains(field));
    // Go's maps have no order: of two keys that become one, either may be the last.
    let is_certain = case["name"] != "key duplicate typed" && case["name"] != "key duplicate yes";
    begins && is_mapping && is_certain && !has_head && !text.contains("---") && text.contains(':')
}

/// Whether two values are one number to an API server: kubectl prints large ones in its own way.
fn is_same(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => one.as_f64() == other.as_f64(),
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(Some(one), Some(other)))
        }
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| is_same(Some(value), other.get(key)))
        }
        (one, other) => one == other,
    }
}

fn kubectl_reads(text: &str) -> Option<Value> {
    let mut kubectl = Command::new("kubectl");
    kubectl.args(["label", "--local", "-f", "-", "is=odd", "-o", "json"]).env_remove("KUBECONFIG");
    let output = run(&mut kubectl, &format!("{HEAD}{text}"));
    if !output.status.success() {
        return None;
    }
    let mut object: Value = serde_json::from_str(&output.stdout).unwrap();
    for field in ["apiVersion", "kind", "metadata"] {
        object.as_object_mut().unwrap().remove(field);
    }
    Some(object)
}

#[test]
fn what_is_recorded_of_odd_yaml_is_what_kubectl_reads() {
    let file = repository().join("netpol/testdata/odd-yaml.jsonl");
    let text = fs::read_to_string(file).unwrap();
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let cases = Mutex::new(cases.into_iter().filter(is_fields));
    let (wrong, asked) = (Mutex::new(Vec::new()), Mutex::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let case = cases.lock().unwrap().next();
                    let Some(case) = case else { break };
                    let recorded = case["kubectl"].get(0);
                    let read = kubectl_reads(case["text"].as_str().unwrap());
                    if !is_same(read.as_ref(), recorded) {
                        let said = json!({"case": case, "kubectl": read});
                        wrong.lock().unwrap().push(said.to_string());
                    }
                    *asked.lock().unwrap() += 1;
                }
            });
        }
    });
    assert!(*asked.lock().unwrap() > 150);
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
