# Alphabetical. `make setup-project` writes project, region and zone to terraform.tfvars.

variable "bastion_machine_type" {
  description = "Machine type of the bastion, which runs kubectl alone."
  type        = string
  default     = "e2-micro"
}

variable "bastion_members" {
  description = "Who may open a shell on the bastion, as IAM members (user:ann@example.com). Owners of the project may anyway."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.bastion_members : can(regex("^(user|group|serviceAccount):[^@\\s]+@[^@\\s]+$", member))])
    error_message = "bastion_members: write each as user:ann@example.com, group:team@example.com or serviceAccount:robot@project.iam.gserviceaccount.com. allUsers and allAuthenticatedUsers are everybody."
  }
}

variable "bastion_scopes" {
  description = "OAuth scopes of the bastion's service account; what it may do is decided by its one role."
  type        = set(string)
  default = [
    "https://www.googleapis.com/auth/cloud-platform.read-only",
    "https://www.googleapis.com/auth/userinfo.email",
  ]
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the cluster. A demo ends with `make tf-destroy`; set it for anything that stays."
  type        = bool
  default     = false
}

variable "master_cidr" {
  description = "Addresses of the control plane's private endpoint."
  type        = string
  default     = "172.16.0.0/28"

  validation {
    condition     = can(cidrhost(var.master_cidr, 0)) && can(regex("/28$", var.master_cidr))
    error_message = "master_cidr: write a block of /28, as 172.16.0.0/28: a control plane takes no other size."
  }
}

variable "node_count" {
  description = "Nodes of the cluster."
  type        = number
  default     = 2

  validation {
    condition     = var.node_count >= 1 && var.node_count <= 100 && floor(var.node_count) == var.node_count
    error_message = "node_count: write a whole number from 1 to 100."
  }
}

variable "node_machine_type" {
  description = "Machine type of the nodes."
  type        = string
  default     = "e2-standard-2"
}

variable "nodes_cidr" {
  description = "Addresses of the nodes and the bastion."
  type        = string
  default     = "10.0.0.0/24"

  validation {
    condition     = can(cidrnetmask(var.nodes_cidr)) && try(tonumber(split("/", var.nodes_cidr)[1]), 0) >= 16 && try(tonumber(split("/", var.nodes_cidr)[1]), 32) <= 28
    error_message = "nodes_cidr: write an IPv4 block between /16 and /28, as 10.0.0.0/24."
  }
}

variable "pods_cidr" {
  description = "Addresses of the pods; each node takes a /24 of it."
  type        = string
  default     = "10.4.0.0/14"

  validation {
    condition     = can(cidrnetmask(var.pods_cidr)) && try(tonumber(split("/", var.pods_cidr)[1]), 0) >= 9 && try(tonumber(split("/", var.pods_cidr)[1]), 32) <= 21
    error_message = "pods_cidr: write an IPv4 block between /9 and /21, as 10.4.0.0/14: a node takes a /24, and a /22 was full at four."
  }
}

variable "policy_engine" {
  description = "What enforces NetworkPolicies: dataplane-v2 (Cilium's eBPF) or calico."
  type        = string
  default     = "dataplane-v2"

  validation {
    condition     = contains(["dataplane-v2", "calico"], var.policy_engine)
    error_message = "policy_engine: write dataplane-v2 or calico. A cluster has one of them, never both."
  }
}

variable "project" {
  description = "Id of the Google Cloud project."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project: write the project's id (not its name or number), as in: gcloud config get-value project"
  }
}

variable "region" {
  description = "Region of the network, the registry and the bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region: write a region, as us-east1; gcloud compute regions list has them all."
  }
}

variable "services_cidr" {
  description = "Addresses of the Services."
  type        = string
  default     = "10.8.0.0/20"

  validation {
    condition     = can(cidrnetmask(var.services_cidr)) && try(tonumber(split("/", var.services_cidr)[1]), 0) >= 16 && try(tonumber(split("/", var.services_cidr)[1]), 32) <= 27
    error_message = "services_cidr: write an IPv4 block between /16 and /27, as 10.8.0.0/20."
  }
}

variable "zone" {
  description = "Zone of the cluster and the bastion, in the region."
  type        = string

  validation {
    condition     = startswith(var.zone, "${var.region}-") && can(regex("^[a-z]+-[a-z]+[0-9]+-[a-z]$", var.zone))
    error_message = "zone: write a zone of the region ${var.region}, as ${var.region}-b; gcloud compute zones list has them all."
  }
}
