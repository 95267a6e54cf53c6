variable "place" {
  description = "Resource group, region and tags of everything in here."
  type        = object({ resource_group_name = string, location = string, tags = map(string) })
}


variable "name" {
  type = string
}

variable "replication" {
  type = string
}

variable "lifecycle_days" {
  type = object({ cool = number, archive = number, delete = number })
}

variable "soft_delete_days" {
  type = number
}

variable "is_private" {
  type = bool
}

variable "allowed_ips" {
  type = list(string)
}

variable "principal_id" {
  type = string
}

variable "private_link" {
  type = object({ subnet_id = string, zone_ids = map(string) })
}
