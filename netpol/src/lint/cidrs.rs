//! Blocks that newer API servers refuse.

use std::str::FromStr;

use super::Lint;
use crate::read::{Finding, Manifests};
use crate::validate::strict_cidr_errors;

/// A version of Kubernetes, `MAJOR.MINOR`. The default is the last one that takes odd blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u16,
    minor: u16,
}

/// The first version that refuses odd blocks: `StrictIPCIDRValidation` is on by default
/// (KEP-4858, kubernetes/kubernetes#137053).
const STRICT: Version = Version { major: 1, minor: 36 };

impl Version {
    /// Whether its API server refuses odd blocks.
    #[must_use]
    pub fn is_strict(self) -> bool {
        self >= STRICT
    }
}

impl Default for Version {
    fn default() -> Self {
        Self { major: 1, minor: 35 }
    }
}

/// A text is no version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a version of Kubernetes, such as 1.36")]
pub struct NotAVersion;

/// `1.36`, also with a `v` in front and a patch behind: `v1.36.2`, `v1.36.2-gke.100`.
impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or(NotAVersion);
        Ok(Self { major: number()?, minor: number()? })
    }
}

/// What an API server of `version` refuses that others take.
#[must_use]
pub fn refused(manifests: &Manifests, version: Version) -> Vec<Finding> {
    if !version.is_strict() {
        return Vec::new();
    }
    let policies = manifests.policies.iter().zip(&manifests.written);
    let errors = policies.flat_map(|(policy, written)| {
        let errors = strict_cidr_errors(policy).into_iter();
        errors.map(|(error, better)| {
            written.finding(&error.path, format!("{}; write {better}", error.fault))
        })
    });
    errors.collect()
}

impl Lint<'_> {
    /// What strict validation refuses of blocks, and what to write instead (KEP-4858).
    pub(super) fn cidrs(&mut self) {
        for (error, better) in strict_cidr_errors(self.object) {
            let message = format!(
                "{}; refused by Kubernetes 1.36 and later, and engines differ on it: write {better}",
                error.fault
            );
            self.warn(&error.path, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{policy, told};
    use super::*;
    use crate::read::{Input, manifests};

    #[test]
    fn what_kubernetes_1_36_refuses_is_refused_of_it_and_no_warning() {
        let rule = "{from: [{ipBlock: {cidr: 10.0.0.1/8}}]}";
        let text = policy("shop", &format!("{{ingress: [{rule}]}}"));
        let manifests = manifests(&[Input::new("-")], text.as_bytes()).unwrap();
        let of = |version: &str| {
            let version = version.parse().unwrap();
            (refused(&manifests, version).len(), super::super::warnings(&manifests, version).len())
        };
        assert_eq!(of("1.35"), (0, 1));
        for strict in ["1.36", "v1.37.2", "1.40", "2.0", "v1.36.2-gke.100"] {
            assert_eq!(of(strict), (1, 0), "{strict}");
        }
        for bad in ["", "1", "x.1", "1.x", "1,36"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn blocks_that_kubernetes_1_36_refuses_are_told_with_what_to_write_instead() {
        for (cidr, said) in [
            ("192.168.0.5/24", "bits set beyond the prefix length"),
            ("010.0.0.0/8", "leading 0s"),
            ("10.0.0.0/08", "leading 0s"),
            ("::ffff:10.0.0.0/104", "IPv4-mapped"),
            ("2001:db8::1/64", "bits set"),
        ] {
            let rule = format!("{{to: [{{ipBlock: {{cidr: \"{cidr}\"}}}}]}}");
            let told =
                told(&policy("shop", &format!("{{policyTypes: [Egress], egress: [{rule}]}}")));
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(
                told[0].starts_with("warning: spec.egress[0].to[0].ipBlock.cidr: "),
                "{told:?}"
            );
            assert!(
                told[0].contains(said) && told[0].contains("1.36") && told[0].contains("write")
            );
        }
    }

    #[test]
    fn what_is_taken_out_of_a_block_is_looked_at_too() {
        let block = "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.1/16]}}";
        let told = told(&policy("shop", &format!("{{ingress: [{{}}, {{from: [{block}]}}]}}")));
        assert_eq!(
            told,
            [
                "warning: spec.ingress[1].from[0].ipBlock.except[1]: Invalid value: \"10.2.0.1/16\": \
              must not have bits set beyond the prefix length; refused by Kubernetes 1.36 and later, \
              and engines differ on it: write 10.2.0.0/16 or 10.2.0.1/32"
            ]
        );
    }
}
