//! The policies that somebody names: as [`super`] heads them, or as kubectl takes them.

use crate::cluster::{Cluster, ForeignPolicy};
use crate::ends::kind_of;
use crate::spelling::{LIKE, did_you_mean, listed};

/// A name is no policy's, or several policies'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyNameError {
    /// No policy is called so.
    #[error("{text:?}: no such policy{hint}")]
    NoSuchPolicy {
        /// What was asked for.
        text: String,
        /// What may have been meant: empty, or with what goes before it.
        hint: String,
    },
    /// Several policies are, in several namespaces.
    #[error("{text:?} may be any of: {policies}")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// At most ten of them.
        policies: String,
    },
    /// It is a kind of something else.
    #[error("{text:?}: {kind} is no kind of policy")]
    NoPolicy {
        /// What was asked for.
        text: String,
        /// The kind.
        kind: String,
    },
}

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The policy at this place of the cluster's list.
    Policy(usize),
    /// A policy of a kind that is not modelled.
    Foreign(&'a ForeignPolicy),
}

/// What `text` may mean.
struct Wanted<'t> {
    /// None for a bare name.
    namespace: Option<&'t str>,
    /// The resource, as somebody wrote it.
    kind: Option<&'t str>,
    name: &'t str,
}

/// The policy that `text` names, in `namespace` where it says none: `[NAMESPACE/]NAME`, and as kubectl has it
/// `networkpolicy/NAME`. If `namespace` is the default one, a name that is not there may be one elsewhere.
pub fn find<'a>(
    cluster: &'a Cluster,
    namespace: &str,
    text: &str,
) -> Result<Found<'a>, PolicyNameError> {
    let mut no_policy = None;
    // One whose name the API server has yet to make (`generateName`) cannot be named.
    for wanted in readings(text).into_iter().filter(|wanted| !wanted.name.is_empty()) {
        let own = wanted.namespace.unwrap_or(namespace);
        let kind = wanted.kind.map(|kind| (kind, kind_of(kind)));
        if let Some((_, Some(kind))) = kind
            && kind != "NetworkPolicy"
        {
            no_policy = Some(kind.to_owned());
            continue;
        }
        // A kind that is not Kubernetes' own may still be that of a policy of another kind.
        let is_ours = kind.is_none_or(|(_, known)| known.is_some());
        let policies = || cluster.policies().iter().enumerate().filter(|_| is_ours);
        let named = || policies().filter(|(_, policy)| policy.name == wanted.name);
        if let Some((index, _)) = named().find(|(_, policy)| policy.namespace == own) {
            return Ok(Found::Policy(index));
        }
        let is_foreign = |policy: &&ForeignPolicy| {
            policy.name == wanted.name
                && policy.namespace.as_ref().is_none_or(|namespace| namespace == own)
                && kind.is_none_or(|(resource, _)| is_resource(resource, &policy.kind))
        };
        if let Some(policy) = cluster.foreign().iter().find(is_foreign) {
            return Ok(Found::Foreign(policy));
        }
        if wanted.namespace.is_none() && namespace == "default" {
            let elsewhere: Vec<usize> = named().map(|(index, _)| index).collect();
            match elsewhere.as_slice() {
                [] => {}
                [index] => return Ok(Found::Policy(*index)),
                _ => {
                    let policies = named().map(|(_, policy)| policy.to_string()).collect();
                    let policies = listed(policies);
                    return Err(PolicyNameError::Ambiguous { text: text.to_owned(), policies });
                }
            }
        }
    }
    let text = text.to_owned();
    Err(match no_policy {
        Some(kind) => PolicyNameError::NoPolicy { text, kind },
        None => PolicyNameError::NoSuchPolicy { hint: hint(cluster, &text), text },
    })
}

/// What `text` may mean, the likelier first: a namespace may be called as a kind is.
fn readings(text: &str) -> Vec<Wanted<'_>> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        [name] => vec![Wanted { namespace: None, kind: None, name }],
        [first, name] => vec![
            Wanted { namespace: None, kind: Some(first), name },
            Wanted { namespace: Some(first), kind: None, name },
        ],
        [namespace, kind, name] => {
            vec![Wanted { namespace: Some(namespace), kind: Some(kind), name }]
        }
        _ => Vec::new(),
    }
}

/// Whether `resource` is `kind` (`KIND.GROUP`) as kubectl takes it: singular or plural, with its group or
/// without.
fn is_resource(resource: &str, kind: &str) -> bool {
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let (kind, its_group) = kind.split_once('.').unwrap_or((kind, ""));
    let (resource, kind) = (resource.to_ascii_lowercase(), kind.to_ascii_lowercase());
    let plural =
        kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"));
    (resource == kind || resource == plural) && (group.is_empty() || group == its_group)
}

/// What may have been meant: those that are spelt most like it or that it is a part of, or some of all.
fn hint(cluster: &Cluster, text: &str) -> String {
    let bare = text.rsplit('/').next().unwrap_or(text);
    let likeness = |name: &str| {
        let part: f64 = if !bare.is_empty() && name.contains(bare) { LIKE } else { 0.0 };
        strsim::normalized_damerau_levenshtein(bare, name).max(part)
    };
    let mut all: Vec<_> = cluster
        .policies()
        .iter()
        .map(|policy| (policy.to_string(), policy.name.as_str()))
        .collect();
    all.sort();
    let hidden = all_hidden(cluster);
    if all.is_empty() {
        return format!("; there is no NetworkPolicy at all{hidden}");
    }
    let said = did_you_mean(all.iter().map(|(policy, name)| (likeness(name), policy.clone())));
    let said = said.unwrap_or_else(|| {
        format!("; there are: {}", listed(all.into_iter().map(|(policy, _)| policy).collect()))
    });
    said + &hidden
}

/// What may be there and cannot be seen: it may be what is looked for.
fn all_hidden(cluster: &Cluster) -> String {
    let hidden = cluster.foreign().iter().filter(|policy| policy.is_hidden);
    let hidden: Vec<String> = hidden.map(ToString::to_string).collect();
    if hidden.is_empty() { String::new() } else { format!("; not seen: {}", listed(hidden)) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{policy, read};
    use super::*;

    fn found(text: &str, name: &str) -> Result<String, String> {
        found_in("default", text, name)
    }

    fn found_in(namespace: &str, text: &str, name: &str) -> Result<String, String> {
        let manifests = read(text);
        let found = find(&manifests.cluster, namespace, name).map_err(|error| error.to_string())?;
        Ok(match found {
            Found::Policy(index) => manifests.cluster.policies()[index].to_string(),
            Found::Foreign(policy) => policy.to_string(),
        })
    }

    #[test]
    fn a_policy_is_named_as_it_is_shown_or_as_kubectl_takes_it() {
        let named = |namespace: &str, name: &str| {
            policy("{}").replace(
                "name: p, namespace: shop",
                &format!("name: {name}, namespace: {namespace}"),
            )
        };
        let text = named("default", "web")
            + &named("shop", "web")
            + &named("shop", "db")
            + &named("netpol", "db")
            + &named("netpol", "only")
            + "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: web, namespace: shop}\n";
        for name in [
            "web",
            "default/web",
            "networkpolicy/web",
            "netpol/web",
            "networkpolicies/web",
            "NetworkPolicy/web",
            "networkpolicy.networking.k8s.io/web",
            "networkpolicies.v1.networking.k8s.io/web",
            "default/netpol/web",
        ] {
            assert_eq!(found(&text, name).unwrap(), "default/web", "{name}");
        }
        assert_eq!(found(&text, "shop/web").unwrap(), "shop/web");
        // In no other namespace is one of this name.
        assert_eq!(found(&text, "only").unwrap(), "netpol/only");
        // Unless somebody has said which namespace he means.
        assert_eq!(found_in("shop", &text, "web").unwrap(), "shop/web");
        assert!(found_in("shop", &text, "only").unwrap_err().contains("did you mean netpol/only?"));
        for name in [
            "ciliumnetworkpolicy/web",
            "shop/ciliumnetworkpolicy.example.com/web",
            "shop/CiliumNetworkPolicies.cilium.io/other",
            "networkpolicy.cilium.io/web",
        ] {
            assert!(found(&text, name).is_err(), "{name}");
        }
        // A namespace may be called as a kind is.
        assert_eq!(found(&text, "netpol/only").unwrap(), "netpol/only");
        for name in ["shop/ciliumnetworkpolicies/web", "shop/CiliumNetworkPolicy.cilium.io/web"] {
            assert_eq!(found(&text, name).unwrap(), "CiliumNetworkPolicy shop/web", "{name}");
        }
        assert_eq!(found(&text, "db").unwrap_err(), "\"db\" may be any of: shop/db, netpol/db");
    }

    #[test]
    fn a_name_that_no_policy_has_is_told_with_those_like_it_and_at_most_ten() {
        let text: String = (0..30)
            .map(|number| {
                policy("{}").replace("name: p,", &format!("name: allow-{number}-of-the-shop,"))
            })
            .collect();
        assert_eq!(
            found(&text, "alow-3-of-the-shop").unwrap_err(),
            "\"alow-3-of-the-shop\": no such policy; did you mean shop/allow-3-of-the-shop or \
             shop/allow-13-of-the-shop or shop/allow-23-of-the-shop?"
        );
        assert!(
            found(&text, "w-29").unwrap_err().ends_with("did you mean shop/allow-29-of-the-shop?")
        );
        let many = found(&text, "zzz").unwrap_err();
        assert!(
            many.contains("there are: shop/allow-0-of-the-shop, ") && many.ends_with("and 20 more"),
            "{many}"
        );
        assert_eq!(
            found(&text, "deploy/web").unwrap_err(),
            "\"deploy/web\": Deployment is no kind of policy"
        );
        assert_eq!(
            found("", "web").unwrap_err(),
            "\"web\": no such policy; there is no NetworkPolicy at all"
        );
        let nameless = policy("{}").replace("name: p,", "generateName: p,");
        for odd in ["", "/", "shop/", "a/b/c/d", "é"] {
            assert!(found(&nameless, odd).is_err(), "{odd:?}");
            assert!(found(&text, odd).is_err(), "{odd:?}");
        }
    }
}
