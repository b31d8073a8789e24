# What the plan must say, proved with no cloud: terraform test

mock_provider "google" {}

override_resource {
  target          = google_service_account.nodes
  override_during = plan
  values = {
    email  = "hello-nodes@a-project.iam.gserviceaccount.com"
    member = "serviceAccount:hello-nodes@a-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target          = google_service_account.bastion
  override_during = plan
  values = {
    name   = "projects/a-project/serviceAccounts/hello-bastion@a-project.iam.gserviceaccount.com"
    email  = "hello-bastion@a-project.iam.gserviceaccount.com"
    member = "serviceAccount:hello-bastion@a-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target          = google_service_account.build
  override_during = plan
  values = {
    email  = "hello-build@a-project.iam.gserviceaccount.com"
    member = "serviceAccount:hello-build@a-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target          = google_compute_address.bastion
  override_during = plan
  values          = { address = "10.0.0.2" }
}

variables {
  project = "a-project"
  region  = "us-east1"
  zone    = "us-east1-c"
}

run "names_are_those_that_users_know" {
  command = plan

  assert {
    condition     = google_compute_network.primary.name == "kube-net" && google_compute_subnetwork.primary.name == "kube-net-subnet"
    error_message = "The network is kube-net, the subnetwork kube-net-subnet."
  }
  assert {
    condition     = google_container_cluster.primary.name == "gke-demo-cluster" && google_container_cluster.primary.location == "us-east1-c"
    error_message = "The cluster is gke-demo-cluster, in the zone."
  }
  assert {
    condition     = google_compute_instance.bastion.name == "gke-demo-bastion" && google_compute_instance.bastion.zone == "us-east1-c"
    error_message = "The bastion is gke-demo-bastion, in the zone."
  }
  assert {
    condition     = output.registry == "us-east1-docker.pkg.dev/a-project/hello"
    error_message = "The registry is named as cloudbuild.yaml names it."
  }
  assert {
    condition     = output.build_service_account == "hello-build@a-project.iam.gserviceaccount.com"
    error_message = "The build's account is named as cloudbuild.yaml names it."
  }
}

run "another_region_is_another_place_for_all_of_it" {
  command = plan

  variables {
    region = "europe-west4"
    zone   = "europe-west4-b"
  }

  assert {
    condition     = google_container_cluster.primary.location == "europe-west4-b" && google_container_node_pool.primary.location == "europe-west4-b"
    error_message = "The cluster and its nodes are in the zone."
  }
  assert {
    condition     = google_compute_subnetwork.primary.region == "europe-west4" && google_compute_address.bastion.region == "europe-west4" && google_artifact_registry_repository.hello.location == "europe-west4" && google_storage_bucket.source.location == "europe-west4"
    error_message = "Network, address, registry and bucket are in the region."
  }
}

run "nothing_has_an_external_address" {
  command = plan

  assert {
    condition     = length(google_compute_instance.bastion.network_interface[0].access_config) == 0 && length(google_compute_instance.bastion.network_interface[0].ipv6_access_config) == 0
    error_message = "The bastion has no external address."
  }
  assert {
    condition     = google_compute_address.bastion.address_type == "INTERNAL"
    error_message = "The reserved address is internal."
  }
  assert {
    condition     = google_container_cluster.primary.private_cluster_config[0].enable_private_nodes && google_container_cluster.primary.private_cluster_config[0].enable_private_endpoint
    error_message = "Nodes and control plane are private."
  }
  assert {
    condition     = google_compute_subnetwork.primary.private_ip_google_access
    error_message = "Without Private Google Access nodes cannot pull images."
  }
}

run "the_bastion_alone_reaches_the_control_plane" {
  command = plan

  assert {
    condition     = [for block in google_container_cluster.primary.master_authorized_networks_config[0].cidr_blocks : block.cidr_block] == ["10.0.0.2/32"]
    error_message = "The one authorised network is the bastion's internal address."
  }
  assert {
    condition     = google_container_cluster.primary.master_authorized_networks_config[0].gcp_public_cidrs_access_enabled == false
    error_message = "Other projects' machines in Google Cloud do not reach it."
  }
  assert {
    condition     = google_compute_instance.bastion.network_interface[0].network_ip == "10.0.0.2"
    error_message = "The bastion has the address that is authorised."
  }
}

run "only_the_proxy_reaches_the_bastion" {
  command = plan

  assert {
    condition     = google_compute_firewall.iap_to_bastion.source_ranges == toset(["35.235.240.0/20"]) && google_compute_firewall.iap_to_bastion.target_service_accounts == toset(["hello-bastion@a-project.iam.gserviceaccount.com"])
    error_message = "From the range of the Identity-Aware Proxy, to the bastion."
  }
  assert {
    condition     = [for allow in google_compute_firewall.iap_to_bastion.allow : [allow.protocol, tolist(allow.ports)]] == [["tcp", tolist(["22"])]]
    error_message = "SSH and nothing else."
  }
  assert {
    condition     = google_compute_instance.bastion.metadata["enable-oslogin"] == "TRUE" && google_compute_instance.bastion.metadata["block-project-ssh-keys"] == "TRUE"
    error_message = "Who logs in is decided by IAM, not by keys in the project."
  }
}

run "dataplane_v2_enforces_by_default" {
  command = plan

  assert {
    condition     = google_container_cluster.primary.datapath_provider == "ADVANCED_DATAPATH"
    error_message = "Dataplane V2."
  }
  assert {
    condition     = length(google_container_cluster.primary.network_policy) == 0 && google_container_cluster.primary.addons_config[0].network_policy_config[0].disabled
    error_message = "No Calico beside it: the API refuses both."
  }
}

run "calico_enforces_when_it_is_chosen" {
  command = plan

  variables {
    policy_engine = "calico"
  }

  assert {
    condition     = google_container_cluster.primary.network_policy[0].enabled && google_container_cluster.primary.network_policy[0].provider == "CALICO" && !google_container_cluster.primary.addons_config[0].network_policy_config[0].disabled
    error_message = "Calico, and its add-on on the nodes."
  }
  assert {
    condition     = google_container_cluster.primary.datapath_provider == "LEGACY_DATAPATH"
    error_message = "No Dataplane V2 beside it: the API refuses both."
  }
}

run "no_machine_has_a_default_account_or_a_broad_scope" {
  command = plan

  assert {
    condition     = google_container_node_pool.primary.node_config[0].service_account == "hello-nodes@a-project.iam.gserviceaccount.com" && google_container_cluster.primary.node_config[0].service_account == "hello-nodes@a-project.iam.gserviceaccount.com"
    error_message = "Nodes have an account of their own, those of the pool that is removed too."
  }
  assert {
    condition     = google_compute_instance.bastion.service_account[0].email == "hello-bastion@a-project.iam.gserviceaccount.com"
    error_message = "The bastion has an account of its own."
  }
  assert {
    condition = !contains(concat(
      tolist(google_container_node_pool.primary.node_config[0].oauth_scopes),
      tolist(google_container_cluster.primary.node_config[0].oauth_scopes),
      tolist(google_compute_instance.bastion.service_account[0].scopes),
    ), "https://www.googleapis.com/auth/cloud-platform")
    error_message = "No machine may do everything that its account may."
  }
}

run "each_account_has_the_roles_it_needs_and_no_other" {
  command = plan

  assert {
    condition = toset([
      google_project_iam_member.nodes.role, google_project_iam_member.bastion.role, google_project_iam_member.build.role,
    ]) == toset(["roles/container.defaultNodeServiceAccount", "roles/container.developer", "roles/logging.logWriter"])
    error_message = "In the project."
  }
  assert {
    condition     = google_artifact_registry_repository_iam_member.nodes.role == "roles/artifactregistry.reader" && google_artifact_registry_repository_iam_member.build.role == "roles/artifactregistry.writer"
    error_message = "In the registry nodes read, and the build writes."
  }
  assert {
    condition     = google_storage_bucket_iam_member.build.role == "roles/storage.objectViewer"
    error_message = "The build reads its sources."
  }
  assert {
    condition     = length(google_iap_tunnel_instance_iam_member.bastion) == 0 && length(google_project_iam_member.oslogin) == 0
    error_message = "Nobody is let in who was not named."
  }
}

run "who_is_named_gets_a_shell_on_the_bastion" {
  command = plan

  variables {
    bastion_members = ["user:ann@example.com"]
  }

  assert {
    condition     = google_iap_tunnel_instance_iam_member.bastion["user:ann@example.com"].role == "roles/iap.tunnelResourceAccessor" && google_iap_tunnel_instance_iam_member.bastion["user:ann@example.com"].instance == "gke-demo-bastion"
    error_message = "Through the proxy to this machine."
  }
  assert {
    condition     = google_service_account_iam_member.bastion["user:ann@example.com"].service_account_id == "projects/a-project/serviceAccounts/hello-bastion@a-project.iam.gserviceaccount.com"
    error_message = "As the bastion's account."
  }
}

run "deletion_protection_is_on_when_it_is_asked_for" {
  command = plan

  variables {
    deletion_protection = true
  }

  assert {
    condition     = google_container_cluster.primary.deletion_protection
    error_message = "The variable decides."
  }
}

run "deletion_protection_is_off_so_that_the_demo_can_end" {
  command = plan

  assert {
    condition     = google_container_cluster.primary.deletion_protection == false
    error_message = "`make tf-destroy` must be able to end the demo."
  }
}

run "pods_have_room_to_grow" {
  command = plan

  assert {
    condition     = { for range in google_compute_subnetwork.primary.secondary_ip_range : range.range_name => range.ip_cidr_range } == { pods = "10.4.0.0/14", services = "10.8.0.0/20" }
    error_message = "A /14 is a /24 for each of 1,024 nodes."
  }
  assert {
    condition     = google_container_cluster.primary.ip_allocation_policy[0].cluster_secondary_range_name == "pods" && google_container_cluster.primary.ip_allocation_policy[0].services_secondary_range_name == "services"
    error_message = "The cluster uses the named ranges."
  }
}
