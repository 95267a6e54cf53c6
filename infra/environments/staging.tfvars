# Fill in suffix, tenant_id, owner_object_id and allowed_ips: infra/environments/staging.auto.tfvars is read beside this and not kept in git.
environment         = "staging"
storage_replication = "LRS"
private_network     = false
soft_delete_days    = 7
