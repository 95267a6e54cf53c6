#!/usr/bin/env bash
# The image and the compose file: tools/docker.sh build | up PROFILE | down | logs     (make docker-…)
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
stop() { printf 'docker: %s; next: %s\n' "$1" "$2" >&2; exit 1; }
compose() { docker compose -f "$top/deploy/docker-compose.yml" --env-file "$top/deploy/.env" "$@"; }
settings() { # passwords are generated once; the file is yours to change
    [ -f "$top/deploy/.env" ] && return 0
    command -v openssl >/dev/null || stop "there is no openssl" "apt-get install openssl"
    (umask 077 && printf 'POSTGRES_PASSWORD=%s\nQDRANT_API_KEY=%s\n' "$(openssl rand -hex 24)" "$(openssl rand -hex 24)" >"$top/deploy/.env.part")
    mv "$top/deploy/.env.part" "$top/deploy/.env"
}
builder() { command -v docker || command -v buildah || stop "there is neither docker nor buildah" "apt-get install buildah"; }
need_compose() {
    docker compose version >/dev/null 2>&1 || stop "docker compose does not answer" "install Docker with its compose plugin, or use make run or px.service"
}
case ${1:-} in
build)
    program=$(builder)
    context=$top/build/package/context
    mkdir -p "$context"
    cp "$top"/build/package/px-*-linux-x86_64.tar.gz "$context/px.tar.gz"
    cp "$top/deploy/docker/root.sh" "$context/"
    case $program in
    *buildah) buildah bud --format docker -f "$top/deploy/docker/Dockerfile" -t localhost/px:latest "$context" ;;
    *) docker build -f "$top/deploy/docker/Dockerfile" -t localhost/px:latest "$context" ;;
    esac
    ;;
up)
    profile=${2:-minimal}
    case $profile in minimal | full) ;; *) stop "there is no profile '$profile'" "PROFILE=minimal or PROFILE=full" ;; esac
    need_compose
    settings
    [ -f "$top/deploy/data/pipeline.yaml" ] ||
        stop "there is no deploy/data/pipeline.yaml" "px init deploy/data, then as root: chown -R 10001:10001 deploy/data"
    for port in 8501 $([ "$profile" = minimal ] || echo 8000 8080 8081 6333 5432 10000 9090); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            stop "something listens on port $port already" "stop it, or name another port in deploy/.env (deploy/docker-compose.yml tells the names)"
        fi
    done
    compose --profile "$profile" up -d --wait
    ;;
down) need_compose; settings; compose --profile minimal --profile full down ;;
logs) need_compose; settings; compose --profile minimal --profile full logs -f --tail 50 ;;
*) printf 'usage: tools/docker.sh build | up PROFILE | down | logs\n' >&2; exit 2 ;;
esac
