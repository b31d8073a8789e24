//! The table of docs/kubectl.md: what it says of each command line is what comes of it.

use std::fs;

use end_to_end::{As, Lab, repository, run};

/// So long, in seconds, a line of the table may take before it counts as hanging.
const LONGEST: u32 = 40;

/// The lines of the tables, each with what the document says of it.
fn table(document: &str) -> Vec<(String, String)> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split_once("` | ").expect(row));
    // A bar within a cell is written with a backslash.
    cells.map(|(line, said)| (line.replace(r"\|", "|"), said.to_owned())).collect()
}

#[test]
fn every_command_line_of_the_table_works_or_is_refused_as_it_says() {
    let document = fs::read_to_string(repository().join("docs/kubectl.md")).unwrap();
    let lines = table(&document);
    assert!(lines.len() >= 60, "{}", lines.len());
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let mut wrong = Vec::new();
    for (line, said) in lines {
        let mut bash = lab.command("timeout");
        let done =
            run(bash.args(["--kill-after=5", &LONGEST.to_string(), "bash", "-c", &line]), "");
        let right = match said.strip_prefix("refused: ") {
            Some(words) => !done.status.success() && done.stderr.contains(words),
            None => said == "works" && done.status.success() && !done.stderr.contains("rror:"),
        };
        if !right {
            wrong.push(format!("{line}\n  is to be: {said}\n  is: {done:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    lab.end();
}
