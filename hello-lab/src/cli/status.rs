//! `hello-lab status`.

use std::process::ExitCode;

use super::keeper::labs;
use crate::runtime_folder::RuntimeFolder;

/// `hello-lab status`: 0 if a lab runs, else 1.
#[must_use]
pub fn status() -> ExitCode {
    let mut running = false;
    for folder in RuntimeFolder::all(&labs()) {
        let Some(keeper) = folder.keeper() else { continue };
        let (name, pid) = (folder.name(), keeper.pid);
        if keeper.is_alive() {
            running = true;
            println!(
                "{name}: runs (process {pid})\n  export KUBECONFIG={}",
                folder.kubeconfig().display()
            );
        } else {
            println!("{name}: was killed; `hello-lab down --name {name}` cleans up");
        }
    }
    if running {
        return ExitCode::SUCCESS;
    }
    println!("no lab runs; start one with `hello-lab up`");
    ExitCode::FAILURE
}
