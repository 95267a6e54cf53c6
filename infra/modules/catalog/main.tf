resource "azurerm_postgresql_flexible_server" "this" {
  #checkov:skip=CKV_AZURE_136:A variable; prod has it, and B1ms cannot.
  name                              = var.name
  resource_group_name               = var.place.resource_group_name
  location                          = var.place.location
  tags                              = var.place.tags
  version                           = "15"
  sku_name                          = var.postgres.sku
  storage_mb                        = var.postgres.storage_mb
  auto_grow_enabled                 = true
  zone                              = var.postgres.zone
  backup_retention_days             = var.postgres.backup_days
  geo_redundant_backup_enabled      = var.postgres.geo_backup
  public_network_access_enabled     = !var.is_private
  administrator_login               = "px"
  administrator_password_wo         = var.postgres_password
  administrator_password_wo_version = var.password_version
  lifecycle {
    ignore_changes = [zone]
  }
}

resource "azurerm_postgresql_flexible_server_configuration" "tls" {
  for_each  = { require_secure_transport = "on", ssl_min_protocol_version = "TLSv1.2" }
  name      = each.key
  server_id = azurerm_postgresql_flexible_server.this.id
  value     = each.value
}

resource "azurerm_postgresql_flexible_server_database" "px" {
  name      = "px"
  server_id = azurerm_postgresql_flexible_server.this.id
  charset   = "UTF8"
  collation = "C"
}

# One rule an address, each by its name.
resource "azurerm_postgresql_flexible_server_firewall_rule" "named" {
  for_each         = var.is_private ? {} : var.allowed_ips
  name             = each.key
  server_id        = azurerm_postgresql_flexible_server.this.id
  start_ip_address = each.value
  end_ip_address   = each.value
}

resource "azurerm_private_endpoint" "this" {
  count               = var.is_private ? 1 : 0
  name                = "pe-${var.name}"
  resource_group_name = var.place.resource_group_name
  location            = var.place.location
  tags                = var.place.tags
  subnet_id           = var.private_link.subnet_id
  private_service_connection {
    name                           = "postgres"
    private_connection_resource_id = azurerm_postgresql_flexible_server.this.id
    subresource_names              = ["postgresqlServer"]
    is_manual_connection           = false
  }
  private_dns_zone_group {
    name                 = "postgres"
    private_dns_zone_ids = [var.private_link.zone_ids["postgres"]]
  }
}

output "id" {
  value = azurerm_postgresql_flexible_server.this.id
}

output "host" {
  value = azurerm_postgresql_flexible_server.this.fqdn
}

output "user" {
  value = azurerm_postgresql_flexible_server.this.administrator_login
}

output "database" {
  value = azurerm_postgresql_flexible_server_database.px.name
}
