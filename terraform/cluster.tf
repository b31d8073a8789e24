resource "google_container_cluster" "primary" {
  # checkov:skip=CKV_GCP_65: Groups need a Google Workspace domain, which a demo has not.
  # checkov:skip=CKV_GCP_66: Binary Authorization needs attestors and a policy of the whole project.
  name       = "gke-demo-cluster"
  location   = var.zone
  network    = google_compute_network.primary.id
  subnetwork = google_compute_subnetwork.primary.id

  deletion_protection = var.deletion_protection
  resource_labels     = { demo = "hello-network-policy" }

  # The pool below is the cluster's own; one must be given for the time until it is there, and it
  # too must not run as the default account.
  remove_default_node_pool = true
  initial_node_count       = 1

  node_config {
    machine_type    = var.node_machine_type
    service_account = google_service_account.nodes.email
    oauth_scopes    = local.node_scopes

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }
  }

  release_channel {
    channel = "REGULAR"
  }

  # One engine enforces NetworkPolicies; the API refuses both at once.
  datapath_provider = local.calico ? "LEGACY_DATAPATH" : "ADVANCED_DATAPATH"

  dynamic "network_policy" {
    for_each = local.calico ? ["CALICO"] : []
    content {
      enabled  = true
      provider = network_policy.value
    }
  }

  addons_config {
    network_policy_config {
      disabled = !local.calico
    }
  }

  # What Dataplane V2 makes visible within a node anyway.
  enable_intranode_visibility = true

  networking_mode = "VPC_NATIVE"

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = true
    master_ipv4_cidr_block  = var.master_cidr
  }

  master_authorized_networks_config {
    gcp_public_cidrs_access_enabled = false

    cidr_blocks {
      display_name = "bastion"
      cidr_block   = "${google_compute_address.bastion.address}/32"
    }
  }

  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }

  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }

  enable_shielded_nodes = true
  enable_legacy_abac    = false

  rbac_binding_config {
    enable_insecure_binding_system_authenticated   = false
    enable_insecure_binding_system_unauthenticated = false
  }

  security_posture_config {
    mode               = "BASIC"
    vulnerability_mode = "VULNERABILITY_DISABLED"
  }

  lifecycle {
    # Those of the pool that is removed.
    ignore_changes = [node_config, initial_node_count]
  }
}

resource "google_container_node_pool" "primary" {
  name       = "primary"
  cluster    = google_container_cluster.primary.id
  location   = var.zone
  node_count = var.node_count

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  node_config {
    image_type      = "COS_CONTAINERD"
    machine_type    = var.node_machine_type
    service_account = google_service_account.nodes.email
    oauth_scopes    = local.node_scopes
    labels          = { demo = "hello-network-policy" }

    metadata = {
      disable-legacy-endpoints = "true"
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }
  }
}

locals {
  calico = var.policy_engine == "calico"

  # Enough to log, to be monitored, and to read images; what the account may do is its roles'.
  node_scopes = [
    "https://www.googleapis.com/auth/devstorage.read_only",
    "https://www.googleapis.com/auth/logging.write",
    "https://www.googleapis.com/auth/monitoring",
  ]
}
