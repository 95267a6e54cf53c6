variable "subscription_id" {
  description = "The Azure subscription; null: ARM_SUBSCRIPTION_ID of the environment."
  type        = string
  default     = null
}

variable "name" {
  description = "Short name that begins every resource's name."
  type        = string
  default     = "pipelinex"
  validation {
    condition     = can(regex("^[a-z][a-z0-9]{2,10}$", var.name))
    error_message = "name must be 3 to 11 lower-case letters and digits, a letter first: it is part of the storage account's name."
  }
}

variable "environment" {
  description = "staging or prod."
  type        = string
  validation {
    condition     = contains(["staging", "prod"], var.environment)
    error_message = "environment must be staging or prod."
  }
}

variable "suffix" {
  description = "Makes the names that must be unique in all of Azure unique: 3 to 6 lower-case letters and digits of your choice."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9]{3,6}$", var.suffix))
    error_message = "suffix must be 3 to 6 lower-case letters and digits."
  }
}

variable "location" {
  description = "Azure region."
  type        = string
  default     = "westeurope"
  validation {
    condition     = can(regex("^[a-z]+[a-z0-9]*$", var.location))
    error_message = "location must be a region's short name, for example westeurope."
  }
}

variable "owner_object_id" {
  description = "Object id of the person or group that may read the generated passwords in the vault."
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$", var.owner_object_id))
    error_message = "owner_object_id must be a UUID: az ad signed-in-user show --query id."
  }
}

variable "tenant_id" {
  description = "The Microsoft Entra tenant of the vault."
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$", var.tenant_id))
    error_message = "tenant_id must be a UUID: az account show --query tenantId."
  }
}

variable "tags" {
  description = "Tags of every resource, besides project and environment."
  type        = map(string)
  default     = {}
}

# ---- network ----
variable "private_network" {
  description = "VNet, subnets, network security groups and private endpoints; nothing answers on a public address then."
  type        = bool
  default     = false
}

variable "address_space" {
  description = "The VNet's range, a /16 to /22."
  type        = string
  default     = "10.42.0.0/16"
  validation {
    condition     = can(cidrhost(var.address_space, 0)) && try(tonumber(split("/", var.address_space)[1]), 0) >= 16 && try(tonumber(split("/", var.address_space)[1]), 99) <= 22
    error_message = "address_space must be a range in CIDR notation with a prefix of 16 to 22."
  }
}

variable "allowed_ips" {
  description = "Public IPv4 addresses by name that may reach storage, database and vault when there is no private network."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for ip in values(var.allowed_ips) : can(cidrhost("${ip}/32", 0)) && ip != "0.0.0.0" && !strcontains(ip, "/")])
    error_message = "allowed_ips must be single IPv4 addresses; 0.0.0.0 would let all of Azure in and is refused."
  }
}

# ---- storage ----
variable "storage_replication" {
  description = "LRS, ZRS, GRS or GZRS."
  type        = string
  default     = "LRS"
  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "GZRS"], var.storage_replication)
    error_message = "storage_replication must be LRS, ZRS, GRS or GZRS."
  }
}

variable "lifecycle_days" {
  description = "Age in days at which a landed file goes to the cool, then the archive tier, and at which it is deleted (0: never)."
  type        = object({ cool = number, archive = number, delete = number })
  default     = { cool = 30, archive = 180, delete = 0 }
  validation {
    condition     = var.lifecycle_days.cool >= 1 && var.lifecycle_days.archive > var.lifecycle_days.cool && (var.lifecycle_days.delete == 0 || var.lifecycle_days.delete > var.lifecycle_days.archive)
    error_message = "lifecycle_days must grow: 1 <= cool < archive < delete (or delete = 0)."
  }
}

variable "soft_delete_days" {
  description = "How long deleted blobs, containers and vault entries can be brought back."
  type        = number
  default     = 14
  validation {
    condition     = var.soft_delete_days >= 7 && var.soft_delete_days <= 90
    error_message = "soft_delete_days must be 7 to 90."
  }
}

# ---- catalog ----
variable "postgres" {
  description = "Size of the catalog's server."
  type = object({
    sku         = optional(string, "B_Standard_B1ms")
    storage_mb  = optional(number, 32768)
    backup_days = optional(number, 7)
    geo_backup  = optional(bool, false)
    zone        = optional(string, "1")
  })
  default = {}
  validation {
    condition     = contains([32768, 65536, 131072, 262144, 524288, 1048576], var.postgres.storage_mb)
    error_message = "postgres.storage_mb must be 32768, 65536, 131072, 262144, 524288 or 1048576."
  }
  validation {
    condition     = var.postgres.backup_days >= 7 && var.postgres.backup_days <= 35
    error_message = "postgres.backup_days must be 7 to 35."
  }
  validation {
    condition     = can(regex("^(B|GP|MO)_Standard_", var.postgres.sku))
    error_message = "postgres.sku must be like B_Standard_B1ms or GP_Standard_D2ds_v5."
  }
}

# ---- compute ----
variable "compute" {
  description = "none, or vm: a machine for px and Qdrant with a disk of its own, without a public address."
  type        = string
  default     = "none"
  validation {
    condition     = contains(["none", "vm"], var.compute)
    error_message = "compute must be none or vm."
  }
  validation {
    condition     = var.compute == "none" || var.private_network
    error_message = "compute = vm needs private_network = true: the machine has no public address."
  }
}

variable "vm" {
  description = "The machine: size, disk for Qdrant's and px's data, the public key of its administrator."
  type = object({
    size       = optional(string, "Standard_D2s_v5")
    disk_gb    = optional(number, 64)
    public_key = optional(string, "")
  })
  default = {}
  validation {
    condition     = var.vm.disk_gb >= 32 && var.vm.disk_gb <= 4096
    error_message = "vm.disk_gb must be 32 to 4096."
  }
  validation {
    condition     = var.compute == "none" || can(regex("^ssh-(rsa|ed25519) ", var.vm.public_key))
    error_message = "vm.public_key must be an OpenSSH public key when compute = vm."
  }
}

# ---- watching ----
variable "diagnostics" {
  description = "Send diagnostic logs of storage, database and vault to a Log Analytics workspace."
  type        = bool
  default     = true
}

variable "budget" {
  description = "Monthly amount in the subscription's currency that mails are sent for at 80 and 100 %; 0: no budget."
  type        = object({ amount = number, start = optional(string, "2026-12-01T00:00:00Z"), emails = optional(list(string), []) })
  default     = { amount = 0 }
  validation {
    condition     = var.budget.amount == 0 || (var.budget.amount > 0 && length(var.budget.emails) > 0)
    error_message = "budget.emails must name someone when budget.amount is set."
  }
}

# ---- secrets ----
variable "postgres_password" {
  description = "Made by tools/infra.sh for each apply, used only when password_version is new; neither in the state nor on disk."
  type        = string
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = length(var.postgres_password) >= 24
    error_message = "postgres_password must have 24 characters or more; make infra-up generates it."
  }
}

variable "password_version" {
  description = "Raise it to give the catalog a new password."
  type        = number
  default     = 1
  validation {
    condition     = var.password_version >= 1 && floor(var.password_version) == var.password_version
    error_message = "password_version must be a whole number from 1."
  }
}
