environment         = "prod"
storage_replication = "ZRS"
private_network     = true
soft_delete_days    = 30
postgres = {
  sku         = "GP_Standard_D2ds_v5"
  storage_mb  = 131072
  backup_days = 35
  geo_backup  = true
}
lifecycle_days = { cool = 30, archive = 180, delete = 0 }
