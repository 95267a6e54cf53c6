terraform {
  required_version = ">= 1.9"
  required_providers {
    # The version that the checks run with; 4.x names the zone of a private DNS link differently.
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 5.2"
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
