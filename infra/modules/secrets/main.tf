resource "azurerm_key_vault" "this" {
  name                          = var.name
  resource_group_name           = var.place.resource_group_name
  location                      = var.place.location
  tags                          = var.place.tags
  tenant_id                     = var.tenant_id
  sku_name                      = "standard"
  rbac_authorization_enabled    = true
  purge_protection_enabled      = true
  soft_delete_retention_days    = var.soft_delete_days
  public_network_access_enabled = !var.is_private
  network_acls {
    default_action = "Deny"
    bypass         = "AzureServices"
    ip_rules       = var.is_private ? [] : var.allowed_ips
  }
}

resource "azurerm_role_assignment" "owner" {
  scope                = azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets Officer"
  principal_id         = var.owner_id
}

resource "azurerm_role_assignment" "px" {
  scope                = azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = var.reader_id
  principal_type       = "ServicePrincipal"
}

# Write-only: the value is never in the state.
resource "azurerm_key_vault_secret" "postgres" {
  #checkov:skip=CKV_AZURE_41:A date of expiry would stop the nightly load; the password is replaced by raising password_version.
  name             = "postgres-password"
  key_vault_id     = azurerm_key_vault.this.id
  content_type     = "password of the catalog"
  value_wo         = var.postgres_password
  value_wo_version = var.password_version
  depends_on       = [azurerm_role_assignment.owner]
}

resource "azurerm_private_endpoint" "this" {
  count               = var.is_private ? 1 : 0
  name                = "pe-${var.name}"
  resource_group_name = var.place.resource_group_name
  location            = var.place.location
  tags                = var.place.tags
  subnet_id           = var.private_link.subnet_id
  private_service_connection {
    name                           = "vault"
    private_connection_resource_id = azurerm_key_vault.this.id
    subresource_names              = ["vault"]
    is_manual_connection           = false
  }
  private_dns_zone_group {
    name                 = "vault"
    private_dns_zone_ids = [var.private_link.zone_ids["vault"]]
  }
}

output "id" {
  value = azurerm_key_vault.this.id
}

output "name" {
  value = azurerm_key_vault.this.name
}

output "secret_name" {
  value = azurerm_key_vault_secret.postgres.name
}
