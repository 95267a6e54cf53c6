# Whom px is on Azure. Its rights are given where the things are: blobs of one account, one secret's vault.
resource "azurerm_user_assigned_identity" "px" {
  name                = "id-${var.prefix}"
  resource_group_name = var.place.resource_group_name
  location            = var.place.location
  tags                = var.place.tags
}

output "id" {
  value = azurerm_user_assigned_identity.px.id
}

output "principal_id" {
  value = azurerm_user_assigned_identity.px.principal_id
}

output "client_id" {
  value = azurerm_user_assigned_identity.px.client_id
}
