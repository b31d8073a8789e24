//! A container whose image is changed while its pod runs: it is started anew, as the other.

use super::Container;
use crate::kubelet::images::Image;
use crate::kubelet::pod::containers;

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

    /// What keeps it from being `image`, if that has another root folder than the one that was made for it: all
    /// are made before the pod's first process.
    pub(super) fn other_root_folder(&self, image: &Image) -> Option<String> {
        let first = containers(self.running.spec()).find(|one| one.name == self.spec.name);
        let first = first.and_then(|one| one.image.as_deref());
        let first = first.and_then(|image| self.running.surroundings.images.find(image));
        (first.and_then(|first| first.root.as_ref()) != image.root.as_ref()).then(|| {
            format!(
                "hello-lab cannot run image {:?} in this pod: a pod's root folders are made when it starts",
                self.spec.image.as_deref().unwrap_or_default(),
            )
        })
    }
}
