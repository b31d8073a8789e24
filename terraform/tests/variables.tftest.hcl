# Every bad value is refused, with a reason that says what to write.

mock_provider "google" {}

variables {
  project = "a-project"
  region  = "us-east1"
  zone    = "us-east1-c"
}

run "a_projects_name_is_not_its_id" {
  command = plan
  variables { project = "My Project" }
  expect_failures = [var.project]
}

run "a_projects_number_is_not_its_id" {
  command = plan
  variables { project = "123456789012" }
  expect_failures = [var.project]
}

run "a_zone_is_no_region" {
  command = plan
  variables { region = "us-east1-c" }
  expect_failures = [var.region]
}

run "a_zone_of_another_region" {
  command = plan
  variables { zone = "us-west1-a" }
  expect_failures = [var.zone]
}

run "a_zone_with_a_slip_of_the_hand" {
  command = plan
  variables { zone = "us-east1-cA" }
  expect_failures = [var.zone]
}

run "an_unknown_engine" {
  command = plan
  variables { policy_engine = "cilium" }
  expect_failures = [var.policy_engine]
}

run "both_engines" {
  command = plan
  variables { policy_engine = "calico,dataplane-v2" }
  expect_failures = [var.policy_engine]
}

run "no_node" {
  command = plan
  variables { node_count = 0 }
  expect_failures = [var.node_count]
}

run "half_a_node" {
  command = plan
  variables { node_count = 1.5 }
  expect_failures = [var.node_count]
}

run "a_control_plane_of_another_size" {
  command = plan
  variables { master_cidr = "172.16.0.0/24" }
  expect_failures = [var.master_cidr]
}

run "a_control_plane_at_no_address" {
  command = plan
  variables { master_cidr = "control-plane/28" }
  expect_failures = [var.master_cidr]
}

run "nodes_in_too_small_a_block" {
  command = plan
  variables { nodes_cidr = "10.0.0.0/30" }
  expect_failures = [var.nodes_cidr]
}

run "pods_in_a_block_that_four_nodes_fill" {
  command = plan
  variables { pods_cidr = "10.4.0.0/22" }
  expect_failures = [var.pods_cidr]
}

run "services_in_no_block" {
  command = plan
  variables { services_cidr = "10.8.0.0" }
  expect_failures = [var.services_cidr]
}

run "everybody_on_the_bastion" {
  command = plan
  variables { bastion_members = ["allUsers"] }
  expect_failures = [var.bastion_members]
}

run "a_member_without_its_kind" {
  command = plan
  variables { bastion_members = ["ann@example.com"] }
  expect_failures = [var.bastion_members]
}

run "a_domain_on_the_bastion" {
  command = plan
  variables { bastion_members = ["domain:example.com"] }
  expect_failures = [var.bastion_members]
}
