variable "place" {
  description = "Resource group, region and tags of everything in here."
  type        = object({ resource_group_name = string, location = string, tags = map(string) })
}


variable "prefix" {
  type = string
}

variable "resource_group_id" {
  type = string
}

variable "budget" {
  type = object({ amount = number, start = string, emails = list(string) })
}

variable "has_diagnostics" {
  type = bool
}

variable "watched" {
  type = map(object({ id = string, logs = list(string) }))
}
