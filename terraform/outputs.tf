output "bastion" {
  description = "Name of the bastion."
  value       = google_compute_instance.bastion.name
}

output "build_service_account" {
  description = "Account that Cloud Build runs as."
  value       = google_service_account.build.email
}

output "cluster" {
  description = "Name of the cluster."
  value       = google_container_cluster.primary.name
}

output "project" {
  description = "Project of all of it."
  value       = var.project
}

output "region" {
  description = "Region of the registry."
  value       = var.region
}

output "registry" {
  description = "Where the images are."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.hello.repository_id}"
}

output "source_bucket" {
  description = "Where sources for Cloud Build go."
  value       = google_storage_bucket.source.name
}

output "zone" {
  description = "Zone of the cluster and the bastion."
  value       = var.zone
}
