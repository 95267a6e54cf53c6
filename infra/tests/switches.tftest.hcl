# Every switch, both environments and the outputs, against the real provider's schema with Azure replaced by mocks.
mock_provider "azurerm" {
  mock_resource "azurerm_resource_group" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg" }
  }
  mock_resource "azurerm_storage_account" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/account" }
  }
  mock_resource "azurerm_storage_container" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/account/blobServices/default/containers/c" }
  }
  mock_resource "azurerm_key_vault" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/vault" }
  }
  mock_resource "azurerm_postgresql_flexible_server" {
    defaults = {
      id   = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.DBforPostgreSQL/flexibleServers/server"
      fqdn = "server.postgres.database.azure.com"
    }
  }
  mock_resource "azurerm_user_assigned_identity" {
    defaults = {
      id           = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id"
      principal_id = "11111111-1111-1111-1111-111111111111"
      client_id    = "22222222-2222-2222-2222-222222222222"
    }
  }
  mock_resource "azurerm_virtual_network" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet" }
  }
  mock_resource "azurerm_subnet" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet/subnets/s" }
  }
  mock_resource "azurerm_network_security_group" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/networkSecurityGroups/nsg" }
  }
  mock_resource "azurerm_private_dns_zone" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/privateDnsZones/zone" }
  }
  mock_resource "azurerm_network_interface" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/networkInterfaces/nic" }
  }
  mock_resource "azurerm_managed_disk" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Compute/disks/disk" }
  }
  mock_resource "azurerm_linux_virtual_machine" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm" }
  }
  mock_resource "azurerm_log_analytics_workspace" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/log" }
  }
}

variables {
  environment       = "staging"
  subscription_id   = "00000000-0000-0000-0000-000000000000"
  suffix            = "abc1"
  tenant_id         = "33333333-3333-3333-3333-333333333333"
  owner_object_id   = "44444444-4444-4444-4444-444444444444"
  postgres_password = "only-for-this-test-0123456789"
  allowed_ips       = { office = "203.0.113.7" }
}

run "public_with_named_ips" {
  assert {
    condition     = output.env.PX_LANDING_URL == "abfss://raw-landing-zone@pipelinexsabc1.dfs.core.windows.net/"
    error_message = "PX_LANDING_URL is ${output.env.PX_LANDING_URL}"
  }
  assert {
    condition     = output.env.POSTGRES_HOST == "server.postgres.database.azure.com" && output.env.POSTGRES_USER == "px" && output.env.POSTGRES_DB == "px"
    error_message = "the catalog's outputs are ${jsonencode(output.env)}"
  }
  assert {
    condition     = output.vault.name == "kv-pipelinex-sabc1" && output.vault.secret == "postgres-password"
    error_message = "the vault's output is ${jsonencode(output.vault)}"
  }
  assert {
    condition     = output.vm_private_ip == null
    error_message = "a machine without compute = vm"
  }
}

run "private_with_vm_and_budget" {
  variables {
    environment     = "prod"
    private_network = true
    compute         = "vm"
    vm              = { public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEBLWQsXGFn9dri0SMrdz9WgaevekxKBqnRZDlE8YZJm" }
    budget          = { amount = 500, emails = ["owner@example.com"] }
    lifecycle_days  = { cool = 10, archive = 20, delete = 30 }
  }
  assert {
    condition     = length(module.network) == 1 && length(module.compute) == 1 && output.vm_private_ip != null
    error_message = "no network or no machine"
  }
  assert {
    condition     = output.env.AZURE_STORAGE_ACCOUNT_NAME == "pipelinexpabc1"
    error_message = "prod and staging share a storage account"
  }
}

run "no_logs_no_network" {
  command = plan
  variables {
    private_network = false
    compute         = "none"
    diagnostics     = false
  }
  assert {
    condition     = length(module.network) == 0 && length(module.compute) == 0
    error_message = "network or machine without their switches"
  }
}

run "all_of_azure_is_refused" {
  command = plan
  variables {
    allowed_ips = { all = "0.0.0.0" }
  }
  expect_failures = [var.allowed_ips]
}

run "a_vm_needs_the_private_network" {
  command = plan
  variables {
    private_network = false
    compute         = "vm"
    vm              = { public_key = "ssh-ed25519 AAAA" }
  }
  expect_failures = [var.compute]
}

run "a_vm_needs_a_key" {
  command = plan
  variables {
    compute         = "vm"
    private_network = true
  }
  expect_failures = [var.vm]
}

run "unknown_environment" {
  command = plan
  variables {
    environment = "test"
  }
  expect_failures = [var.environment]
}

run "shrinking_lifecycle" {
  command = plan
  variables {
    lifecycle_days = { cool = 30, archive = 20, delete = 0 }
  }
  expect_failures = [var.lifecycle_days]
}

run "a_budget_for_nobody" {
  command = plan
  variables {
    budget = { amount = 10 }
  }
  expect_failures = [var.budget]
}

run "a_short_password" {
  command = plan
  variables {
    postgres_password = "short"
  }
  expect_failures = [var.postgres_password]
}
