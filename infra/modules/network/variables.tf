variable "place" {
  description = "Resource group, region and tags of everything in here."
  type        = object({ resource_group_name = string, location = string, tags = map(string) })
}


variable "prefix" {
  type = string
}

variable "address_space" {
  type = string
}
