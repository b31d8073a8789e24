resource "google_compute_network" "primary" {
  name                    = "kube-net"
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"
}

resource "google_compute_subnetwork" "primary" {
  name          = "kube-net-subnet"
  network       = google_compute_network.primary.id
  region        = var.region
  ip_cidr_range = var.nodes_cidr

  # Images and packages come from Google's own services: no machine here needs the internet,
  # and none has a way to it.
  private_ip_google_access = true

  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = var.pods_cidr
  }

  secondary_ip_range {
    range_name    = "services"
    ip_cidr_range = var.services_cidr
  }

  log_config {
    aggregation_interval = "INTERVAL_5_SEC"
    flow_sampling        = 0.5
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

# The one way in: a shell on the bastion, through Google's Identity-Aware Proxy.
resource "google_compute_firewall" "iap_to_bastion" {
  name                    = "kube-net-iap-to-bastion"
  network                 = google_compute_network.primary.id
  direction               = "INGRESS"
  source_ranges           = ["35.235.240.0/20"]
  target_service_accounts = [google_service_account.bastion.email]

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}
