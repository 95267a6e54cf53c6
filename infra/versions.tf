terraform {
  required_version = ">= 1.9"
  required_providers {
    # Only what 4.81 and 5.x both know is used; the tests run with 5.2.
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.81, < 6.0"
    }
  }
  # State: infra/backend.tf.example
}

provider "azurerm" {
  features {
    key_vault {
      purge_soft_delete_on_destroy = false
    }
    resource_group {
      prevent_deletion_if_contains_resources = true
    }
  }
  subscription_id     = var.subscription_id
  storage_use_azuread = true
}
