use serde_json::json;

use super::*;

fn matches(labels: &str, fields: &str) -> bool {
    let object = Object::new(
        Kind::Pod,
        json!({
            "metadata": {"name": "p", "labels": {"app": "hello", "tier": "web", "n": "10", "e": ""}},
            "status": {"phase": "Running"},
        }),
    )
    .unwrap();
    Selection::parse(Kind::Pod, labels, fields).unwrap().matches(&object)
}

#[test]
fn label_selectors_are_those_of_kubectl() {
    for labels in [
        "",
        "app=hello",
        " app == hello ",
        "app!=other",
        "app",
        "!nope",
        "! nope",
        "app in (hello, other)",
        "app in(hello)",
        "app notin (a,b),tier=web",
        "nope!=a",
        "n>9",
        "n<11,n > 2",
        "e=",
        "e in ()",
        "e in (,a)",
        "nope notin ()",
    ] {
        assert!(matches(labels, ""), "{labels}");
    }
    for labels in
        ["app=other", "nope", "!app", "app in (a,b)", "app=hello,tier=db", "n>10", "app>1"]
    {
        assert!(!matches(labels, ""), "{labels}");
    }
}

#[test]
fn field_selectors_are_of_the_fields_that_a_kind_has_for_them() {
    assert!(matches("", "metadata.name=p,status.phase!=Pending"));
    assert!(!matches("", "metadata.name=q"));
    assert!(matches("", "spec.nodeName=,spec.hostNetwork=false,"));
    assert!(matches("", "metadata.name!=a\\,b"));
    for (kind, fields) in [
        (Kind::Pod, "spec.containers=a"),
        (Kind::ConfigMap, "status.phase=a"),
        (Kind::Deployment, "spec.replicas=1"),
    ] {
        assert!(Selection::parse(kind, "", fields).is_err(), "{fields}");
    }
}

#[test]
fn what_is_no_selector_is_refused() {
    for labels in [
        "=a",
        "a in b",
        "a b",
        "a,",
        ",a",
        "a=b,,c",
        "a in (b",
        "a in",
        "-a=b",
        "a=b_",
        "a>b",
        "!",
        "(a)",
        "a=b c",
        "!a=b",
        "a===b",
        "a in (b))",
        "a=(b)",
    ] {
        let parsed = Selection::parse(Kind::Pod, labels, "");
        assert!(parsed.is_err(), "{labels}: {parsed:?}");
    }
    assert!(Selection::parse(Kind::Pod, "", "metadata.name").is_err());
}
