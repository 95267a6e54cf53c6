# A machine for px.deb and Qdrant: no public address, a disk for the data, the identity of px.
resource "azurerm_network_interface" "this" {
  name                = "nic-${var.prefix}"
  resource_group_name = var.place.resource_group_name
  location            = var.place.location
  tags                = var.place.tags
  ip_configuration {
    name                          = "internal"
    subnet_id                     = var.subnet_id
    private_ip_address_allocation = "Dynamic"
  }
}

resource "azurerm_linux_virtual_machine" "this" {
  #checkov:skip=CKV_AZURE_50:The extension agent is off below; the check looks for another argument.
  name                            = "vm-${var.prefix}"
  resource_group_name             = var.place.resource_group_name
  location                        = var.place.location
  tags                            = var.place.tags
  size                            = var.vm.size
  admin_username                  = "operator"
  disable_password_authentication = true
  allow_extension_operations      = false
  secure_boot_enabled             = true
  vtpm_enabled                    = true
  network_interface_ids           = [azurerm_network_interface.this.id]
  admin_ssh_key {
    username   = "operator"
    public_key = var.vm.public_key
  }
  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
  }
  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }
  identity {
    type         = "UserAssigned"
    identity_ids = [var.identity_id]
  }
}

resource "azurerm_managed_disk" "data" {
  #checkov:skip=CKV_AZURE_93:Encrypted with the platform's key; a key of one's own is a decision of the organisation.
  name                          = "disk-${var.prefix}-data"
  resource_group_name           = var.place.resource_group_name
  location                      = var.place.location
  tags                          = var.place.tags
  storage_account_type          = "Premium_LRS"
  create_option                 = "Empty"
  disk_size_gb                  = var.vm.disk_gb
  public_network_access_enabled = false
  network_access_policy         = "DenyAll"
}

resource "azurerm_virtual_machine_data_disk_attachment" "data" {
  managed_disk_id    = azurerm_managed_disk.data.id
  virtual_machine_id = azurerm_linux_virtual_machine.this.id
  lun                = 0
  caching            = "ReadOnly"
}

output "private_ip" {
  value = azurerm_network_interface.this.private_ip_address
}
