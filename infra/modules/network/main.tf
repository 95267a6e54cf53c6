resource "azurerm_virtual_network" "this" {
  name                = "vnet-${var.prefix}"
  resource_group_name = var.place.resource_group_name
  location            = var.place.location
  address_space       = [var.address_space]
  tags                = var.place.tags
}

resource "azurerm_subnet" "this" {
  #checkov:skip=CKV2_AZURE_31:Each has its group by the association below, which the check does not follow through for_each.
  for_each             = { endpoints = 0, compute = 1 }
  name                 = "snet-${each.key}"
  resource_group_name  = var.place.resource_group_name
  virtual_network_name = azurerm_virtual_network.this.name
  address_prefixes     = [cidrsubnet(var.address_space, 4, each.value)]
}

# Within the network only: what comes from the internet is refused, by name and not by default alone.
resource "azurerm_network_security_group" "this" {
  for_each            = azurerm_subnet.this
  name                = "nsg-${var.prefix}-${each.key}"
  resource_group_name = var.place.resource_group_name
  location            = var.place.location
  tags                = var.place.tags
  security_rule {
    name                       = "deny-internet"
    priority                   = 4000
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_port_range          = "*"
    destination_port_range     = "*"
    source_address_prefix      = "Internet"
    destination_address_prefix = "*"
  }
}

resource "azurerm_subnet_network_security_group_association" "this" {
  for_each                  = azurerm_subnet.this
  subnet_id                 = each.value.id
  network_security_group_id = azurerm_network_security_group.this[each.key].id
}

resource "azurerm_private_dns_zone" "this" {
  for_each = {
    blob     = "privatelink.blob.core.windows.net"
    dfs      = "privatelink.dfs.core.windows.net"
    postgres = "privatelink.postgres.database.azure.com"
    vault    = "privatelink.vaultcore.azure.net"
  }
  name                = each.value
  resource_group_name = var.place.resource_group_name
  tags                = var.place.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "this" {
  for_each            = azurerm_private_dns_zone.this
  name                = "link-${each.key}"
  private_dns_zone_id = each.value.id
  virtual_network_id  = azurerm_virtual_network.this.id
  tags                = var.place.tags
}

output "private_link" {
  value = { subnet_id = azurerm_subnet.this["endpoints"].id, zone_ids = { for key, zone in azurerm_private_dns_zone.this : key => zone.id } }
}

output "compute_subnet_id" {
  value = azurerm_subnet.this["compute"].id
}
