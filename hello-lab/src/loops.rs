//! The lab's loops: what must run for as long as the lab does. When one ends, the lab does: half a lab
//! would take policies and enforce none.

use std::fmt;
use std::panic::AssertUnwindSafe;

use clap::ValueEnum;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument;

/// A loop of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Loop {
    /// Answers kubectl.
    Api,
    /// Keeps the cluster's own objects.
    Bootstrap,
    /// Brings the objects nearer to what is asked for.
    Controllers,
    /// Runs pods.
    Kubelet,
    /// Makes sandboxes ahead.
    SandboxPool,
    /// Keeps the pods' filters.
    PolicyEnforcer,
    /// Keeps the pods' tables of Services.
    ServiceProxy,
}

impl fmt::Display for Loop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        out.write_str(value.as_ref().map_or("", clap::builder::PossibleValue::get_name))
    }
}

/// A loop has ended, and with it the lab.
#[derive(Debug, thiserror::Error)]
#[error("the lab's {name} has ended{}", why(.panic.as_deref()))]
pub struct LoopEnded {
    /// Which.
    pub name: Loop,
    /// What it said, if it panicked.
    pub panic: Option<String>,
}

fn why(panic: Option<&str>) -> String {
    panic.map_or_else(String::new, |said| format!(": it panicked: {said}"))
}

/// The loops that run.
pub struct Loops {
    running: JoinSet<LoopEnded>,
    /// The one that is to fail once the lab is ready, for tests.
    fail: Option<Loop>,
    ready: watch::Sender<bool>,
}

impl Loops {
    /// None yet. The loop `fail` will panic as soon as the lab is [ready](Self::first_end).
    #[must_use]
    pub fn new(fail: Option<Loop>) -> Self {
        Self { running: JoinSet::new(), fail, ready: watch::Sender::new(false) }
    }

    /// Starts a loop.
    pub fn start<T>(&mut self, name: Loop, work: impl Future<Output = T> + Send + 'static) {
        let mut ready = self.ready.subscribe();
        let fails = self.fail == Some(name);
        #[cfg_attr(not(test), expect(clippy::panic, reason = "a test asks for it"))]
        let fault = async move {
            if fails {
                // An error means that the lab has ended by itself.
                let _ = ready.wait_for(|ready| *ready).await;
                panic!("made to fail");
            }
            std::future::pending::<()>().await;
        };
        let work = async move {
            tokio::select! {
                _ = work => {}
                () = fault => {}
            }
        };
        let span = tracing::info_span!("loop", %name);
        self.running.spawn(
            async move {
                let ended = AssertUnwindSafe(work).catch_unwind().await;
                LoopEnded { name, panic: ended.err().map(|panic| panic_text(&*panic)) }
            }
            .instrument(span),
        );
    }

    /// Resolves when the first of them has ended. Says that the lab is ready.
    pub async fn first_end(mut self) -> LoopEnded {
        self.ready.send_replace(true);
        loop {
            match self.running.join_next().await {
                Some(Ok(ended)) => return ended,
                // What panics is caught above, and nobody cancels one alone.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// The text of a panic.
#[must_use]
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_loop_that_ends_is_named() {
        let mut loops = Loops::new(None);
        loops.start(Loop::Api, std::future::pending::<()>());
        loops.start(Loop::Kubelet, std::future::ready(()));
        let ended = loops.first_end().await;
        assert_eq!(ended.to_string(), "the lab's kubelet has ended");
    }

    #[tokio::test]
    async fn a_loop_that_panics_is_named_with_what_it_said() {
        let mut loops = Loops::new(None);
        loops.start(Loop::Kubelet, async { panic!("no pod {}", 7) });
        let ended = loops.first_end().await;
        assert_eq!(ended.to_string(), "the lab's kubelet has ended: it panicked: no pod 7");
    }

    #[tokio::test]
    async fn a_loop_can_be_made_to_fail() {
        for name in Loop::value_variants() {
            let mut loops = Loops::new(Some(*name));
            for one in Loop::value_variants() {
                loops.start(*one, std::future::pending::<()>());
            }
            assert_eq!(loops.first_end().await.name, *name);
        }
    }
}
