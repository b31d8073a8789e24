//! What stands in texts, and what is refused of them.

use super::*;

fn read(text: &str) -> Result<Vec<(Event, u64)>, SyntaxError> {
    Events::of(text).collect()
}

#[test]
fn every_event_is_told_with_its_line() {
    let plain = |value: &str| Event::Scalar {
        anchor: None,
        tag: None,
        value: value.to_owned(),
        is_plain: true,
    };
    let events = read("a: &x [!!int '1']\nb:\n  *x\n").unwrap();
    assert_eq!(
        events,
        [
            (Event::DocumentStart, 1),
            (Event::MappingStart { anchor: None }, 1),
            (plain("a"), 1),
            (Event::SequenceStart { anchor: Some("x".to_owned()) }, 1),
            (
                Event::Scalar {
                    anchor: None,
                    tag: Some("tag:yaml.org,2002:int".to_owned()),
                    value: "1".to_owned(),
                    is_plain: false,
                },
                1
            ),
            (Event::SequenceEnd, 1),
            (plain("b"), 2),
            (Event::Alias("x".to_owned()), 3),
            (Event::MappingEnd, 4),
            (Event::DocumentEnd, 4),
        ]
    );
}

#[test]
fn nothing_is_no_document_and_an_error_is_the_last() {
    assert_eq!(read(""), Ok(vec![]));
    let mut events = Events::of("a: [\n");
    let error = events.find_map(Result::err).unwrap();
    assert_eq!(error.line, 2);
    assert_eq!(error.to_string(), "line 2: did not find expected node content");
    assert!(events.next().is_none());
}

#[test]
fn what_go_yaml_reads_otherwise_in_flow_collections_is_an_error() {
    let problem = |text: &str| read(text).err().map(|error| error.problem);
    for text in ["[a?b]", "{a?b: c}", "- [http://x/y?z=1]", "{a: [b, c?]}", "{a: b\n  c?d}"] {
        let said = problem(text);
        assert!(said.as_ref().is_some_and(|said| said.contains('?')), "{text}: {said:?}");
    }
    for text in ["[!!str, a]", "{!!str,}", "[é, !,a]", "{a: !x,\n b: c}", "[&a !b, c]", "[!,!,]"] {
        let said = problem(text);
        assert!(said.as_ref().is_some_and(|said| said.contains("comma")), "{text}: {said:?}");
    }
    for text in [
        "a?b: c?",
        "- a?",
        "['a?b', \"c?\"]",
        "{? a : b}",
        "[a]?: b\n",
        "[!!str , a]",
        "[!!str a, b]",
        "[!!str &a, b]",
        "[!!str]",
        "{a: !!str }",
        "- !a,b c\n",
        "['!', !!str 'x', a]",
        "[a]\n---\nb?\n",
    ] {
        let said = problem(text);
        assert!(
            said.as_ref()
                .is_none_or(|said| !said.contains("quotes") && !said.contains("blank between")),
            "{text}: {said:?}"
        );
    }
}

#[test]
fn a_reading_can_be_left_at_any_event() {
    let text = "%TAG !e! tag:e,2026:\n--- !e!a\n- &x \"é\\u00e9\"\n- !!str {a: |\n  b\n }\n- *x\n";
    for count in 0..20 {
        let _ = Events::of(text).take(count).count();
    }
}

#[test]
fn an_escaped_slash_is_an_error() {
    let problem = |text: &str| read(text).err().map(|error| error.problem);
    for text in [r#"a: "b\/c""#, r#"- &x !!str "\\\/""#, r#"["é\/"]"#, r#"{"\/": a}"#] {
        assert_eq!(problem(text).as_deref(), Some("found unknown escape character"), "{text}");
    }
    for text in [r#"a: "b\\/c""#, r"a: 'b\/c'", r"a: b\/c", r#"a: "/""#, r#"a: "\\\\/""#] {
        assert_eq!(problem(text), None, "{text}");
    }
}
