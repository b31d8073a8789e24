//! A lab is never half a lab: when a part of it ends, all of it does, and says why.

use std::time::{Duration, SystemTime};

use end_to_end::{As, command_as, program, run, users};

/// The parts that can be made to fail, as the program names them.
fn parts() -> Vec<String> {
    let (mut up, _home) = command_as(As::Myself, program("hello-lab"));
    let said = run(up.args(["up", "--fail", "no-such-part"]), "").failed();
    let list = said.split_once("[possible values: ").and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.unwrap_or_else(|| panic!("no list of parts: {said}"));
    list.split(", ").map(str::to_owned).collect()
}

/// Runs a lab whose `part` fails as soon as it is ready: what it said, and how long it lived on.
fn fail(user: As, part: &str) -> (String, Duration) {
    let (mut lab, home) = command_as(user, program("hello-lab"));
    let ready = home.path().join("ready");
    let script = format!("touch {} && exec sleep 60", ready.display());
    let said = run(lab.args(["run", "--fail", part, "--", "sh", "-c", &script]), "").failed();
    let ended = SystemTime::now();
    let ready = ready.metadata().and_then(|file| file.modified());
    let ready = ready.unwrap_or_else(|error| panic!("{part}: never ready ({error}): {said}"));
    (said, ended.duration_since(ready).unwrap_or_default())
}

#[test]
fn when_a_part_of_a_lab_ends_the_lab_ends_with_an_error_within_a_second() {
    let parts = parts();
    assert!(parts.len() >= 7, "{parts:?}");
    for user in users() {
        for part in &parts {
            // The machine may be busy with something else once.
            let took = (0..3).map(|_| {
                let (said, took) = fail(user, part);
                let error = format!("the lab's {part} has ended: it panicked: made to fail");
                assert!(said.contains(&error), "{part}: {said}");
                took
            });
            let fast = took.into_iter().find(|took| *took < Duration::from_secs(1));
            assert!(fast.is_some(), "{part}: it lived on for more than a second, three times");
        }
    }
}
