variable "place" {
  description = "Resource group, region and tags of everything in here."
  type        = object({ resource_group_name = string, location = string, tags = map(string) })
}


variable "name" {
  type = string
}

variable "tenant_id" {
  type = string
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

variable "reader_id" {
  type = string
}

variable "owner_id" {
  type = string
}

variable "private_link" {
  type = object({ subnet_id = string, zone_ids = map(string) })
}

variable "postgres_password" {
  type      = string
  ephemeral = true
  sensitive = true
}


variable "password_version" {
  type = number
}
