#!/usr/bin/env bash
# Azure by Terraform: tools/infra.sh init | plan | up | down | env     (make infra-…; ENV=staging or prod)
# The catalog's password is made here, handed over in the environment and kept in the vault only. `env` writes build/infra-ENV.env,
# mode 0600: the outputs and that password. Your own values (suffix, tenant_id, …): infra/environments/ENV.auto.tfvars.
set -euo pipefail
what=${1:-} env=${ENV:-staging}
top=$(cd "$(dirname "$0")/.." && pwd)
stop() { printf 'infra: %s; next: %s\n' "$1" "$2" >&2; exit 1; }
need() { command -v "$1" >/dev/null || stop "there is no program '$1'" "$2"; }
case $what in
init | plan | up | down | env) ;;
*) printf 'usage: tools/infra.sh init | plan | up | down | env\n' >&2; exit 2 ;;
esac
[ -f "$top/infra/environments/$env.tfvars" ] || stop "there is no environment '$env'" "ENV=staging or ENV=prod"
need terraform "install Terraform 1.11 or newer (write-only arguments need it)"
cd "$top/infra"
umask 077
if [ "$what" = init ]; then
    [ -f backend.tf ] || printf 'infra: the state stays in this folder; to share it: cp infra/backend.tf.example infra/backend.tf\n' >&2
    exec terraform init -input=false
fi
[ -d .terraform ] || stop "Terraform is not initialised" "make infra-init"
if [ "$what" = env ]; then
    need az "install the Azure CLI and az login: the password is read from the vault"
    need python3 "apt-get install python3"
    file=$top/build/infra-$env.env
    mkdir -p "$top/build"
    vault=$(terraform output -json vault) || stop "there are no outputs" "make infra-up ENV=$env"
    name=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["name"])' <<<"$vault")
    secret=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])' <<<"$vault")
    password=$(az keyvault secret show --vault-name "$name" --name "$secret" --query value --output tsv) ||
        stop "the vault $name gave no password" "az login as the owner, from an address of allowed_ips"
    rm -f "$file.part"
    {
        terraform output -json env | python3 -c 'import json, sys; [print(f"{k}={v}") for k, v in json.load(sys.stdin).items()]'
        printf 'POSTGRES_PASSWORD=%s\n' "$password"
    } >"$file.part"
    chmod 0600 "$file.part"
    mv "$file.part" "$file"
    printf 'infra: wrote %s; next: put it beside your pipeline.yaml as .env\n' "${file#"$top"/}" >&2
    exit
fi
need openssl "apt-get install openssl"
TF_VAR_postgres_password=$(openssl rand -base64 36 | tr '+/' '-_')
export TF_VAR_postgres_password
files=(-var-file="environments/$env.tfvars")
[ ! -f "environments/$env.auto.tfvars" ] || files+=(-var-file="environments/$env.auto.tfvars")
case $what in
plan) terraform plan -input=false "${files[@]}" ;;
up) terraform apply "${files[@]}" ;;
down) terraform destroy "${files[@]}" ;;
esac
