# The one address that the cluster's API answers. It is made before the cluster, and the machine
# after it: the machine's kubeconfig names the cluster.
resource "google_compute_address" "bastion" {
  name         = "gke-demo-bastion"
  address_type = "INTERNAL"
  region       = var.region
  subnetwork   = google_compute_subnetwork.primary.id
}

resource "google_compute_instance" "bastion" {
  # checkov:skip=CKV_GCP_38: Google's keys encrypt the disk; it holds nothing but kubectl.
  name         = "gke-demo-bastion"
  machine_type = var.bastion_machine_type
  zone         = var.zone
  labels       = { demo = "hello-network-policy" }

  allow_stopping_for_update = true

  boot_disk {
    initialize_params {
      # It has the repository of kubectl and the authentication plugin.
      image = "debian-cloud/debian-12"
      size  = 10
    }
  }

  network_interface {
    subnetwork = google_compute_subnetwork.primary.id
    network_ip = google_compute_address.bastion.address
  }

  service_account {
    email  = google_service_account.bastion.email
    scopes = var.bastion_scopes
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  metadata = {
    enable-oslogin         = "TRUE"
    block-project-ssh-keys = "TRUE"
    startup-script = templatefile("${path.module}/bastion-startup.sh.tftpl", {
      cluster     = google_container_cluster.primary.name
      endpoint    = google_container_cluster.primary.private_cluster_config[0].private_endpoint
      certificate = google_container_cluster.primary.master_auth[0].cluster_ca_certificate
    })
  }
}
