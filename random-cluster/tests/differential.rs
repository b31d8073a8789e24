//! The kernel does what the evaluator says: random clusters and policies, real sockets.

use std::process::Command;

/// What a program says that makes network namespaces; nothing, with the reason said, where it may not.
fn run(test: &str, program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().expect("the program was built");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    if let Some(reason) = error.lines().find(|line| line.contains("cannot have network namespaces"))
    {
        println!("SKIPPED: {test}: {reason}");
        return None;
    }
    assert!(output.status.success(), "{said}{error}");
    Some(said)
}

#[test]
fn the_kernel_takes_a_filter_of_4000_peers_at_once() {
    const NAME: &str = "the_kernel_takes_a_filter_of_4000_peers_at_once";
    let arguments = ["--peers", "4000", "--replacements", "2", "--connections", "10"];
    let said = run(NAME, env!("CARGO_BIN_EXE_bench-kernel"), &arguments);
    assert!(said.is_none_or(|said| said.contains("\n    4000 ")));
}

#[test]
fn the_kernel_agrees_with_the_evaluator_on_2000_connections() {
    const NAME: &str = "the_kernel_agrees_with_the_evaluator_on_2000_connections";
    let Some(said) = run(NAME, env!("CARGO_BIN_EXE_differential"), &["--probes", "2000"]) else {
        return;
    };
    // Where all is allowed, or nothing, nothing was tried.
    let allowed = said.split_whitespace().skip_while(|word| *word != "probes,").nth(1);
    let allowed: usize = allowed.expect("the number of allowed ones").parse().expect("a number");
    assert!((400..1900).contains(&allowed), "{said}");
    println!("{said}");
}
