//! The program netpol on files, as a platform engineer runs it in CI.

use end_to_end::{program, run};
use std::process::Command;

#[test]
fn the_demos_manifests_have_no_findings() {
    let output = run(Command::new(program("netpol")).args(["check", "manifests/"]), "").ok();
    assert_eq!(
        output,
        "no findings in 3 policies, 3 pods and workloads\nnot looked at: 1 Service\n"
    );
}

#[test]
fn findings_are_one_line_each_with_their_place_and_exit_code_2() {
    let manifest = "kind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  podSelecter: {}\n  policyTypes: [Ingres]\n";
    let output = run(Command::new(program("netpol")).args(["check", "-"]), manifest);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        output.stderr,
        "-:4: spec.podSelecter: unknown field, did you mean \"podSelector\"?\n"
    );
    assert_eq!(output.stdout, "");
}
