resource "google_artifact_registry_repository" "hello" {
  # checkov:skip=CKV_GCP_84: Google's keys encrypt it; a key of one's own outlives the demo, and costs.
  repository_id = "hello"
  location      = var.region
  format        = "DOCKER"
  labels        = { demo = "hello-network-policy" }

  docker_config {
    # A tag says for ever what it said once.
    immutable_tags = true
  }
}

# Where `make cloud-build` puts the sources that Cloud Build reads.
resource "google_storage_bucket" "source" {
  # checkov:skip=CKV_GCP_62: The project's audit log says who read it; a log bucket would need one too.
  # checkov:skip=CKV_GCP_78: Every upload is a new object, and goes after a week.
  name     = "${var.project}-hello-source"
  location = var.region
  labels   = { demo = "hello-network-policy" }

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 7
    }
  }
}
