//! A container whose image is changed while its pod runs: it is started anew, as the other.

use super::Container;

impl Container {
    /// Runs it until it has ended for good or is no longer wanted. Whether it has ended well.
    pub(in crate::kubelet) async fn run(mut self) -> bool {
        loop {
            if let Some(well) = self.run_image().await {
                return well;
            }
            self.spec.image = self.running.latest_image(&self.spec.name);
            let image = self.spec.image.clone().unwrap_or_default();
            self.status(|status| status.image.clone_from(&image));
        }
    }

    /// Whether its pod's spec names another image by now.
    pub(super) fn is_to_be_another(&self) -> bool {
        let latest = self.running.latest_image(&self.spec.name);
        latest.is_some() && latest != self.spec.image
    }

    /// Resolves when it is to be another image.
    pub(super) async fn image_changed(&self) {
        let mut latest = self.running.latest.clone();
        while !self.is_to_be_another() {
            if latest.changed().await.is_err() {
                // The lab ends.
                std::future::pending::<()>().await;
            }
        }
    }
}
