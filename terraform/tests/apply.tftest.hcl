# What is known only when the cluster is there.

mock_provider "google" {
  mock_resource "google_compute_address" {
    defaults = { address = "10.0.0.2" }
  }

  mock_resource "google_container_cluster" {
    defaults = {
      private_cluster_config = { private_endpoint = "172.16.0.2" }
      master_auth            = { cluster_ca_certificate = "Q0VSVElGSUNBVEU=" }
    }
  }

  mock_resource "google_service_account" {
    defaults = {
      name   = "projects/a-project/serviceAccounts/robot@a-project.iam.gserviceaccount.com"
      email  = "robot@a-project.iam.gserviceaccount.com"
      member = "serviceAccount:robot@a-project.iam.gserviceaccount.com"
    }
  }
}

variables {
  project = "a-project"
  region  = "us-east1"
  zone    = "us-east1-c"
}

run "the_bastions_kubeconfig_names_the_cluster" {
  command = apply

  assert {
    condition     = strcontains(google_compute_instance.bastion.metadata["startup-script"], "current-context: gke-demo-cluster")
    error_message = "It is of the cluster."
  }
  assert {
    condition     = strcontains(google_compute_instance.bastion.metadata["startup-script"], "server: https://172.16.0.2\n") && strcontains(google_compute_instance.bastion.metadata["startup-script"], "certificate-authority-data: Q0VSVElGSUNBVEU=\n")
    error_message = "It names the private endpoint and trusts its certificate."
  }
}
