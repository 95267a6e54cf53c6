resource "azurerm_storage_account" "this" {
  #checkov:skip=CKV_AZURE_59:Public access is off with private_network; without it only the named addresses get through.
  #checkov:skip=CKV_AZURE_206:Replication is a variable; prod has ZRS.
  #checkov:skip=CKV_AZURE_43:The name is made of validated variables, which the check cannot see.
  #checkov:skip=CKV_AZURE_33:There are no queues.
  #checkov:skip=CKV2_AZURE_1:Encrypted with the platform's key; a key of one's own is a decision of the organisation.
  name                              = var.name
  resource_group_name               = var.place.resource_group_name
  location                          = var.place.location
  tags                              = var.place.tags
  account_kind                      = "StorageV2"
  account_tier                      = "Standard"
  account_replication_type          = var.replication
  is_hns_enabled                    = true
  min_tls_version                   = "TLS1_2"
  https_traffic_only_enabled        = true
  allow_nested_items_to_be_public   = false
  shared_access_key_enabled         = false
  local_user_enabled                = false
  default_to_oauth_authentication   = true
  infrastructure_encryption_enabled = true
  public_network_access_enabled     = !var.is_private
  cross_tenant_replication_enabled  = false

  blob_properties {
    delete_retention_policy {
      days = var.soft_delete_days
    }
    container_delete_retention_policy {
      days = var.soft_delete_days
    }
  }

  network_rules {
    default_action = "Deny"
    bypass         = ["AzureServices"]
    ip_rules       = var.is_private ? [] : var.allowed_ips
  }
}

resource "azurerm_storage_container" "this" {
  #checkov:skip=CKV2_AZURE_21:Reads are logged by modules/monitoring, which the check does not follow.
  for_each              = toset(["raw-landing-zone", "processed-data"])
  name                  = each.value
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}

# Landed files are read by their run and by verification: seldom after a month. The lake stays hot.
resource "azurerm_storage_management_policy" "this" {
  storage_account_id = azurerm_storage_account.this.id
  rule {
    name    = "age-landed-files"
    enabled = true
    filters {
      prefix_match = ["raw-landing-zone/"]
      blob_types   = ["blockBlob"]
    }
    actions {
      base_blob {
        tier_to_cool_after_days_since_modification_greater_than    = var.lifecycle_days.cool
        tier_to_archive_after_days_since_modification_greater_than = var.lifecycle_days.archive
        delete_after_days_since_modification_greater_than          = var.lifecycle_days.delete > 0 ? var.lifecycle_days.delete : null
      }
    }
  }
}

# The two containers, not the account.
resource "azurerm_role_assignment" "px" {
  for_each             = azurerm_storage_container.this
  scope                = each.value.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = var.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_private_endpoint" "this" {
  for_each            = var.is_private ? toset(["blob", "dfs"]) : toset([])
  name                = "pe-${var.name}-${each.value}"
  resource_group_name = var.place.resource_group_name
  location            = var.place.location
  tags                = var.place.tags
  subnet_id           = var.private_link.subnet_id
  private_service_connection {
    name                           = each.value
    private_connection_resource_id = azurerm_storage_account.this.id
    subresource_names              = [each.value]
    is_manual_connection           = false
  }
  private_dns_zone_group {
    name                 = each.value
    private_dns_zone_ids = [var.private_link.zone_ids[each.value]]
  }
}

output "id" {
  value = azurerm_storage_account.this.id
}

output "name" {
  value = azurerm_storage_account.this.name
}
