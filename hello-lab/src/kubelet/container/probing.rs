//! How the probes of a container that runs are followed.

use std::future::pending;

use hello_common::error::Chain;
use k8s_openapi::api::core::v1::Probe;

use super::{Container, Restart};
use crate::kubelet::handler::Target;
use crate::kubelet::probe::Check;
use crate::objects::events::Severity;

/// What a probe has turned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turned {
    Succeeded,
    Failed,
}

impl Container {
    /// Follows the container's probes; resolves when one asks for a restart.
    pub(super) async fn probe(&self, target: Target<'_>) -> Restart {
        let check =
            |probe: &Option<Probe>| probe.as_ref().and_then(|probe| Check::new(&self.spec, probe));
        if let Some(startup) = check(&self.spec.startup_probe) {
            self.until_ready_early(&startup, target).await;
            if self.until_turned(&startup, "Startup", target).await == Turned::Failed {
                return self.restart("startup", &startup);
            }
        }
        self.status(|status| status.started = true);
        self.started.notify_one();
        let readiness = async {
            let Some(check) = check(&self.spec.readiness_probe) else {
                self.status(|status| status.ready = true);
                return pending::<()>().await;
            };
            self.until_ready_early(&check, target).await;
            loop {
                let turned = self.until_turned(&check, "Readiness", target).await;
                self.status(|status| status.ready = turned == Turned::Succeeded);
                if turned == Turned::Succeeded {
                    tokio::time::sleep(check.period).await;
                    self.until_failed(&check, "Readiness", target).await;
                    self.status(|status| status.ready = false);
                }
            }
        };
        let liveness = async {
            match check(&self.spec.liveness_probe) {
                Some(check) => {
                    tokio::time::sleep(check.delay.max(check.period)).await;
                    self.until_failed(&check, "Liveness", target).await;
                    self.restart("liveness", &check)
                }
                None => pending().await,
            }
        };
        tokio::select! {
            () = readiness => pending().await,
            restart = liveness => restart,
        }
    }

    fn restart(&self, probe: &str, check: &Check) -> Restart {
        let name = &self.spec.name;
        let why = format!("Container {name} failed its {probe} probe, will be restarted");
        Restart { why, grace: check.grace }
    }

    /// In its first moments a container is asked more often than its period says, for nobody
    /// learns from waiting.
    async fn until_ready_early(&self, check: &Check, target: Target<'_>) {
        tokio::time::sleep(check.delay).await;
        let early = async {
            while check.attempt(target).await.is_err() {
                tokio::time::sleep(check.early_period).await;
            }
        };
        let _ = tokio::time::timeout(check.period, early).await;
    }

    /// Tries until enough tries in a row have failed.
    async fn until_failed(&self, check: &Check, name: &str, target: Target<'_>) {
        while self.until_turned(check, name, target).await == Turned::Succeeded {
            tokio::time::sleep(check.period).await;
        }
    }

    /// Tries until enough tries in a row have succeeded, or have failed.
    async fn until_turned(&self, check: &Check, name: &str, target: Target<'_>) -> Turned {
        let (mut successes, mut failures) = (0, 0);
        loop {
            match check.attempt(target).await {
                Ok(()) => (successes, failures) = (successes + 1, 0),
                Err(error) => {
                    (successes, failures) = (0, failures + 1);
                    let message = format!("{name} probe failed: {}", Chain(&error));
                    self.running.tell(Severity::Warning, "Unhealthy", &message);
                }
            }
            if successes >= check.successes {
                return Turned::Succeeded;
            }
            if failures >= check.failures {
                return Turned::Failed;
            }
            tokio::time::sleep(check.period).await;
        }
    }
}
