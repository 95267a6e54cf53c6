variable "place" {
  description = "Resource group, region and tags of everything in here."
  type        = object({ resource_group_name = string, location = string, tags = map(string) })
}


variable "prefix" {
  type = string
}

variable "vm" {
  type = object({ size = string, disk_gb = number, public_key = string })
}

variable "subnet_id" {
  type = string
}

variable "identity_id" {
  type = string
}
