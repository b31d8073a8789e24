//! Lifecycle hooks: what is done right after a container's start, and before it is told to end
//! (<https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/>).

use std::time::Duration;

use hello_common::error::Chain;
use k8s_openapi::api::core::v1::{Lifecycle, LifecycleHandler};

use super::{Container, Restart};
use crate::kubelet::handler::{Handler, HandlerError, Target};
use crate::kubelet::pod::LEAST_GRACE;
use crate::objects::events::Severity;

impl Container {
    /// Does what is to be done after the start. A container whose hook fails is started again.
    pub(super) async fn after_start(&self, target: Target<'_>) -> Option<Restart> {
        let hook = self.lifecycle().and_then(|lifecycle| lifecycle.post_start.as_ref())?;
        self.hook(hook, "PostStart", target).await.err()?;
        let why = format!("Container {} failed its PostStart hook", self.spec.name);
        Some(Restart { why, grace: None })
    }

    /// Does what is to be done before the end, which is to come within `grace`. What is left of that.
    pub(super) async fn before_end(&self, grace: Duration, target: Target<'_>) -> Duration {
        let hook = self.lifecycle().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let Some(hook) = hook.filter(|_| !grace.is_zero()) else { return grace };
        let started = tokio::time::Instant::now();
        // One that fails changes nothing more, and one that takes too long is left.
        let _ = tokio::time::timeout(grace, self.hook(hook, "PreStop", target)).await;
        grace.saturating_sub(started.elapsed()).max(LEAST_GRACE)
    }

    /// Whether there is something to be done after the start.
    pub(super) fn has_post_start(&self) -> bool {
        self.lifecycle().is_some_and(|lifecycle| lifecycle.post_start.is_some())
    }

    fn lifecycle(&self) -> Option<&Lifecycle> {
        self.spec.lifecycle.as_ref()
    }

    async fn hook(
        &self,
        hook: &LifecycleHandler,
        name: &str,
        target: Target<'_>,
    ) -> Result<(), Failed> {
        let Some(handler) = Handler::of_hook(&self.spec, hook) else {
            self.hook_failed(name, "its handler is none, or names a port that does not exist");
            return Err(Failed);
        };
        match handler.run(target).await {
            // Whatever a server answers, it has been told (pkg/kubelet/lifecycle).
            Ok(()) | Err(HandlerError::Status(_)) => Ok(()),
            Err(error) => {
                self.hook_failed(name, &Chain(&error).to_string());
                Err(Failed)
            }
        }
    }

    fn hook_failed(&self, name: &str, why: &str) {
        let message = format!("{name}Hook failed: {why}");
        self.running.tell(Severity::Warning, &format!("Failed{name}Hook"), &message);
    }
}

/// A hook that has failed, which has been told.
struct Failed;
