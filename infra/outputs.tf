# Nothing secret: `make infra-env` fetches the password from the vault by the name given here.
output "env" {
  description = "The variables of px's .env, without secrets."
  value = {
    PX_LANDING_URL             = "abfss://raw-landing-zone@${module.storage.name}.dfs.core.windows.net/"
    PX_LAKE_URL                = "abfss://processed-data@${module.storage.name}.dfs.core.windows.net/lake"
    PX_VECTORS_URL             = "embedded:abfss://processed-data@${module.storage.name}.dfs.core.windows.net/index"
    PX_CATALOG_URL             = "postgresql:"
    AZURE_STORAGE_ACCOUNT_NAME = module.storage.name
    AZURE_CLIENT_ID            = module.identity.client_id
    POSTGRES_HOST              = module.catalog.host
    POSTGRES_PORT              = "5432"
    POSTGRES_USER              = module.catalog.user
    POSTGRES_DB                = module.catalog.database
  }
}

output "vault" {
  description = "Where the catalog's password is."
  value       = { name = module.secrets.name, secret = module.secrets.secret_name }
}

output "vm_private_ip" {
  description = "Address of the machine in the private network; null without one."
  value       = one(module.compute[*].private_ip)
}
