# An account for each machine, with what it needs. The default account has no part in this.

resource "google_service_account" "nodes" {
  account_id   = "hello-nodes"
  display_name = "Nodes of gke-demo-cluster"
}

resource "google_service_account" "bastion" {
  account_id   = "hello-bastion"
  display_name = "Bastion of gke-demo-cluster"
}

resource "google_service_account" "build" {
  account_id   = "hello-build"
  display_name = "Cloud Build of hello-network-policy"
}

resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

resource "google_artifact_registry_repository_iam_member" "nodes" {
  repository = google_artifact_registry_repository.hello.name
  location   = google_artifact_registry_repository.hello.location
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes.member
}

# Objects in clusters, not clusters.
resource "google_project_iam_member" "bastion" {
  project = var.project
  role    = "roles/container.developer"
  member  = google_service_account.bastion.member
}

resource "google_project_iam_member" "build" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.build.member
}

resource "google_artifact_registry_repository_iam_member" "build" {
  repository = google_artifact_registry_repository.hello.name
  location   = google_artifact_registry_repository.hello.location
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member
}

# Who may open a shell on the bastion: through the proxy, as a user of their own, acting as its account.
resource "google_iap_tunnel_instance_iam_member" "bastion" {
  for_each = var.bastion_members

  instance = google_compute_instance.bastion.name
  zone     = var.zone
  role     = "roles/iap.tunnelResourceAccessor"
  member   = each.value
}

resource "google_project_iam_member" "oslogin" {
  for_each = var.bastion_members

  project = var.project
  role    = "roles/compute.osLogin"
  member  = each.value
}

resource "google_service_account_iam_member" "bastion" {
  for_each = var.bastion_members

  service_account_id = google_service_account.bastion.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}
