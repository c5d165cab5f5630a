# What the checks share that start servers: a PostgreSQL of their own, the program, others' programs, and the end of them
# all. To be sourced, after `set -euo pipefail`, in the root of the project.
#
#   PROGRAM   the program (target/release/posts)
# shellcheck shell=bash

PROGRAM=$(realpath "${PROGRAM:-target/release/posts}")
# The caller's own settings must not reach the servers.
unset DATABASE_URL "${!PG@}" "${!POSTS_@}"

work=$(mktemp -d)
chmod 755 "$work" # the user postgres has to get through to its own folder
cluster=
processes=()

clean_up() {
    local status=$? process
    for process in ${processes[@]+"${processes[@]}"}; do
        kill -KILL "$process" || true
        wait "$process" || true
    done 2>/dev/null
    [ -z "$cluster" ] || as_postgres "$cluster/pg_ctl" -D "$work/postgres/data" -m immediate stop >/dev/null || true
    [ "$status" = 0 ] || show_logs >&2
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The ends of what the servers said, for who looks why a check failed.
show_logs() {
    local log
    for log in "$work"/*.log; do
        [ -s "$log" ] || continue
        echo "-- the end of ${log##*/}:"
        grep -v '"level":"INFO"' "$log" | tail -n 20 || true
    done
}

# need PACKAGE PROGRAM...: without these programs the check is skipped, and fails where CI is set.
need() {
    local program
    for program in "${@:2}"; do
        command -v "$program" >/dev/null && continue
        echo "notice: $program is not installed (apt-get install --no-install-recommends $1); this was NOT checked" >&2
        [ "${CI:-}" = true ] && exit 1
        exit 0
    done
}

# In another folder than the working tree, which the user postgres may not be allowed to enter.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && runuser -u postgres -- "$@")
    else
        (cd / && "$@")
    fi
}

# Puts the programs of the newest PostgreSQL that is installed onto the path.
find_postgres() {
    local folder
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
        if [ -x "$folder/initdb" ]; then
            PATH=$folder:$PATH
            break
        fi
    done
    need postgresql initdb pg_ctl pg_dump
}

# A PostgreSQL of our own in $work/postgres, on a Unix socket alone: no port to collide with, and nobody from outside.
start_postgres() {
    find_postgres
    local folder=$work/postgres
    mkdir "$folder"
    [ "$(id -u)" != 0 ] || chown postgres "$folder"
    cluster=$(dirname "$(command -v initdb)")
    as_postgres "$cluster/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale C --no-sync >/dev/null
    as_postgres "$cluster/pg_ctl" -D "$folder/data" -l "$folder/log" -w \
        -o "-k '$folder' -c listen_addresses= -c fsync=off" start >/dev/null
    # For createdb, psql and their like, and for no server: each has its URL.
    export PGHOST=$folder PGUSER=postgres
}

# The URL of a database in it.
postgres_url() {
    echo "postgres://postgres@/$1?host=$work/postgres"
}

# A port that nobody has at the moment.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# until_answered URL [PROCESS]: waits for a 200, as long as the process runs.
until_answered() {
    local end=$((SECONDS + 30))
    until curl -fs -o /dev/null "$1"; do
        if [ "$SECONDS" -ge "$end" ] || { [ -n "${2:-}" ] && ! kill -0 "$2" 2>/dev/null; }; then
            echo "$1 was never answered with 200" >&2
            return 1
        fi
        sleep 0.05
    done
}

# start_server NAME ARGUMENTS...: starts the program, and waits until it is ready. Its log is $work/NAME.log, its process
# $process, its address $address.
start_server() {
    : >"$work/$1.out"
    env -u PGHOST -u PGUSER "$PROGRAM" --log-format json "${@:2}" >"$work/$1.out" 2>>"$work/$1.log" &
    process=$!
    processes+=("$process")
    local end=$((SECONDS + 30))
    until address=$(sed -n 's/^listening on //p' "$work/$1.out") && [ -n "$address" ]; do
        if [ "$SECONDS" -ge "$end" ] || ! kill -0 "$process" 2>/dev/null; then
            echo "$1 did not start" >&2
            return 1
        fi
        sleep 0.01
    done
    until_answered "$address/health/ready" "$process"
}

# stop PROCESS [WHAT]: tells it to stop. It has to end with 0.
stop() {
    local status=0 process left=()
    kill -TERM "$1"
    wait "$1" || status=$?
    for process in "${processes[@]}"; do
        [ "$process" = "$1" ] || left+=("$process")
    done
    processes=(${left[@]+"${left[@]}"})
    if [ "$status" != 0 ]; then
        echo "${2:-a server} ended with $status after SIGTERM, not with 0" >&2
        return 1
    fi
}
