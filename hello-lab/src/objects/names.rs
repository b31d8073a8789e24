//! Names and addresses that more than one room must agree on.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The version of Kubernetes whose API the lab's is a part of.
pub const KUBERNETES_VERSION: &str = "v1.34.0";

/// The name of the lab's only node.
pub const NODE_NAME: &str = "hello-lab";

/// The label by which an EndpointSlice names its Service
/// (`LabelServiceName` of k8s.io/api/discovery/v1).
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The label that tells the pods of one template of a Deployment from those of another
/// (`DefaultDeploymentUniqueLabelKey` of k8s.io/api/apps/v1).
pub const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";

/// The annotation that numbers the templates of a Deployment
/// (`RevisionAnnotation` of k8s.io/kubectl/pkg/util/deployment).
pub const REVISION_ANNOTATION: &str = "deployment.kubernetes.io/revision";

/// The label that names the Job of a pod (`JobNameLabel` of k8s.io/api/batch/v1).
pub const JOB_NAME_LABEL: &str = "batch.kubernetes.io/job-name";

/// The label that has the uid of the Job of a pod (`ControllerUidLabel` of k8s.io/api/batch/v1).
pub const CONTROLLER_UID_LABEL: &str = "batch.kubernetes.io/controller-uid";

/// The ConfigMap of every namespace by which clients in pods can trust the API.
pub const ROOT_CA: &str = "kube-root-ca.crt";

/// The Services' network; its addresses exist only as DNAT rules of the pods.
pub const SERVICE_NETWORK: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 0);

/// Its prefix length.
pub const SERVICE_PREFIX: u8 = 16;

/// How long the name of what is deleted in two steps stays free, or the old one's, at least, where one of the same
/// name comes in its place. kubectl asks for it twice, within some milliseconds, before it watches; were the first the
/// old one and the second the new, it would wait for the end of the new one (`IsDeleted` of
/// k8s.io/kubectl/pkg/cmd/wait/delete.go).
pub const LOOKED_FOR: Duration = Duration::from_millis(200);

/// The ports that Services of type `NodePort` have on the node (`--service-node-port-range` of an API server).
pub const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;

/// Namespace and name of the Service of the API.
pub const API_SERVICE: (&str, &str) = ("default", "kubernetes");

/// The most name servers that a pod's resolver asks (`MaxDNSNameservers` of pkg/apis/core/validation).
pub const MOST_NAME_SERVERS: usize = 3;

/// The most domains that it looks for names in (`MaxDNSSearchPaths`).
pub const MOST_SEARCHES: usize = 32;

/// Namespace and name of the Service of the cluster's DNS.
pub const DNS_SERVICE: (&str, &str) = ("kube-system", "kube-dns");

/// Namespace and name of the Deployment of the cluster's DNS, as kubeadm, kind and minikube have it.
pub const DNS_DEPLOYMENT: (&str, &str) = ("kube-system", "coredns");

/// The address of the Service `kubernetes`, the first of the Services' network.
pub const API_SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The address of the Service of the cluster's DNS, as on most clusters.
pub const DNS_SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// The cluster's domain.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
