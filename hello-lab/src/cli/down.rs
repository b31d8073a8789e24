//! `hello-lab down`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::keeper::{TEAR_DOWN, labs};
use crate::runtime_folder::{Keeper, RuntimeFolder};
use crate::stages::terminate;

/// `hello-lab down`: ends a lab, and waits until it is gone.
pub fn down(name: &str) -> anyhow::Result<ExitCode> {
    let folders = RuntimeFolder::all(&labs());
    let Some(folder) = folders.into_iter().find(|folder| folder.name() == name) else {
        println!("no lab named {name:?} runs");
        return Ok(ExitCode::SUCCESS);
    };
    let keeper = folder.keeper().filter(Keeper::is_alive);
    let Some(keeper) = keeper else {
        folder.remove();
        println!("cleaned up after the lab {name:?}, which was killed");
        return Ok(ExitCode::SUCCESS);
    };
    terminate(keeper.pid).with_context(|| format!("cannot end process {}", keeper.pid))?;
    let start = Instant::now();
    while keeper.is_alive() {
        if start.elapsed() > TEAR_DOWN {
            bail!("the lab {name:?} (process {}) did not end", keeper.pid);
        }
        // Not a child, so there is nothing to wait for.
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("the lab {name:?} is gone");
    Ok(ExitCode::SUCCESS)
}
