//! Processes, as /proc tells of them.

use std::io::Read;

/// Every process that descends from `root`, itself not included.
#[must_use]
pub fn descendants(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let all: Vec<(i32, i32)> = processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut index = 0;
    while index < found.len() {
        let of = found[index];
        found.extend(all.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        index += 1;
    }
    found.split_off(1)
}

/// Every process of the machine.
pub fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether a process runs: it is there, and it is no zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// The field `name` of a process's /proc/PID/status, such as `CapEff`.
#[must_use]
pub fn status_field(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
    status.lines().find_map(value).expect(name)
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// A variable of the environment that a process was started with.
pub(crate) fn environment(pid: i32, name: &str) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(format!("/proc/{pid}/environ")).ok()?.read_to_string(&mut text).ok()?;
    let mut variables = text.split('\0').filter_map(|variable| variable.split_once('='));
    variables.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}
