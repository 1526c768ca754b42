#!/bin/sh
# A throw-away PostgreSQL on loopback, for tests.
#
#   tools/postgres.sh run COMMAND [ARG ...]   runs COMMAND with its URL in
#                                             INTERREX_TEST_POSTGRES, then stops it;
#                                             without the variable where there is none
#   tools/postgres.sh start DIR               makes it in DIR and prints its URL
#   tools/postgres.sh stop DIR                stops it and removes DIR
#
# It installs the package with apt where it is missing and the caller is root.
set -eu

say() { echo "postgres.sh: $*" >&2; }

# find_bin prints the folder of initdb and pg_ctl.
find_bin() {
	for bin in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) /usr/local/pgsql/bin /usr/bin; do
		if [ -x "$bin/initdb" ] && [ -x "$bin/pg_ctl" ]; then
			echo "$bin"
			return
		fi
	done
	return 1
}

install() {
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		say "no PostgreSQL here, and only root can install it with apt"
		return 1
	fi
	if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq --no-install-recommends postgresql; } >&2; then
		say "no PostgreSQL here, and apt cannot install it"
		return 1
	fi
}

# as runs a command as the user postgres, because PostgreSQL refuses root.
as() {
	if [ "$(id -u)" = 0 ]; then
		(cd / && setpriv --reuid postgres --regid postgres --init-groups "$@")
	else
		"$@"
	fi
}

init() {
	bin=$1 && dir=$2 && shift 2
	rm -rf "$dir/data"
	as "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale C --no-sync "$@" >"$dir.log" 2>&1
}

start() {
	bin=$(find_bin) || { install && bin=$(find_bin); } || return 1
	mkdir -p "$1"
	if [ "$(id -u)" = 0 ]; then chown postgres "$1"; fi
	# A locale that does not sort bytewise, where it can be had: more to go wrong.
	init "$bin" "$1" --locale-provider=icu --icu-locale=en || init "$bin" "$1" || {
		cat "$1.log" >&2
		return 1
	}
	for _ in 1 2 3 4 5; do # a port may be taken
		port=$(shuf -i 20000-32000 -n 1)
		if as "$bin/pg_ctl" -D "$1/data" -l "$1/server.log" -w -t 30 \
			-o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" start >>"$1.log" 2>&1; then
			echo "postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
			return
		fi
	done
	cat "$1.log" "$1/server.log" >&2
	say "cannot start PostgreSQL"
	return 1
}

stop() {
	if [ -f "$1/data/postmaster.pid" ]; then
		as "$(find_bin)/pg_ctl" -D "$1/data" -m immediate -w stop >/dev/null
	fi
	rm -rf "$1" "$1.log"
}

run() {
	dir=$(mktemp -d /tmp/interrex-postgres.XXXXXX)
	trap 'stop "$dir"' EXIT
	trap 'exit 130' INT TERM
	if url=$(start "$dir"); then
		export INTERREX_TEST_POSTGRES="$url"
	elif [ -n "${CI:-}" ]; then
		say "the tests against PostgreSQL would be skipped, and CI leaves nothing out"
		exit 1
	else
		say "the tests against PostgreSQL are skipped"
	fi
	"$@"
}

case "${1:-}" in
run) shift && run "$@" ;;
start | stop) "$1" "$2" ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
