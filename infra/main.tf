# What Pipeline-X needs on Azure: one module a concern. docs/infrastructure.md tells the switches.
locals {
  prefix = "${var.name}-${var.environment}"
  tags   = merge({ project = "pipeline-x", environment = var.environment }, var.tags)
}

resource "azurerm_resource_group" "this" {
  name     = "rg-${local.prefix}"
  location = var.location
  tags     = local.tags
}

locals {
  place = { resource_group_name = azurerm_resource_group.this.name, location = var.location, tags = local.tags }
}

module "network" {
  source        = "./modules/network"
  count         = var.private_network ? 1 : 0
  place         = local.place
  prefix        = local.prefix
  address_space = var.address_space
}

module "identity" {
  source = "./modules/identity"
  place  = local.place
  prefix = local.prefix
}

module "storage" {
  source           = "./modules/storage"
  place            = local.place
  name             = "${var.name}${var.environment == "prod" ? "p" : "s"}${var.suffix}"
  replication      = var.storage_replication
  lifecycle_days   = var.lifecycle_days
  soft_delete_days = var.soft_delete_days
  is_private       = var.private_network
  allowed_ips      = values(var.allowed_ips)
  principal_id     = module.identity.principal_id
  private_link     = one(module.network[*].private_link)
}

module "secrets" {
  source            = "./modules/secrets"
  place             = local.place
  name              = "kv-${var.name}-${var.environment == "prod" ? "p" : "s"}${var.suffix}"
  tenant_id         = var.tenant_id
  soft_delete_days  = var.soft_delete_days
  is_private        = var.private_network
  allowed_ips       = values(var.allowed_ips)
  reader_id         = module.identity.principal_id
  owner_id          = var.owner_object_id
  private_link      = one(module.network[*].private_link)
  postgres_password = var.postgres_password
  password_version  = var.password_version
}

module "catalog" {
  source            = "./modules/catalog"
  place             = local.place
  name              = "psql-${local.prefix}-${var.suffix}"
  postgres          = var.postgres
  is_private        = var.private_network
  allowed_ips       = var.allowed_ips
  private_link      = one(module.network[*].private_link)
  postgres_password = var.postgres_password
  password_version  = var.password_version
}

module "compute" {
  source      = "./modules/compute"
  count       = var.compute == "vm" ? 1 : 0
  place       = local.place
  prefix      = local.prefix
  vm          = var.vm
  subnet_id   = module.network[0].compute_subnet_id
  identity_id = module.identity.id
}

module "monitoring" {
  source            = "./modules/monitoring"
  place             = local.place
  prefix            = local.prefix
  resource_group_id = azurerm_resource_group.this.id
  budget            = var.budget
  has_diagnostics   = var.diagnostics
  watched = {
    storage = { id = "${module.storage.id}/blobServices/default", logs = ["StorageRead", "StorageWrite", "StorageDelete"] }
    catalog = { id = module.catalog.id, logs = ["PostgreSQLLogs"] }
    secrets = { id = module.secrets.id, logs = ["AuditEvent"] }
  }
}
