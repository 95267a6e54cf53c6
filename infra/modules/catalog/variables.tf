variable "place" {
  description = "Resource group, region and tags of everything in here."
  type        = object({ resource_group_name = string, location = string, tags = map(string) })
}


variable "name" {
  type = string
}

variable "postgres" {
  type = object({ sku = string, storage_mb = number, backup_days = number, geo_backup = bool, zone = string })
}

variable "is_private" {
  type = bool
}

variable "allowed_ips" {
  type = map(string)
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
