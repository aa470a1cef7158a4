#!/bin/sh
# Finds, installs and reports the programs that the tests talk to.
#
#   integration/deps.sh install    what is missing, by apt when run as root
#   integration/deps.sh bench      the same for "make bench"
#   integration/deps.sh report     which provider each suite will run on
#   integration/deps.sh env        variables for the tests in containers, for eval
#
# SEALPOST_TEST_INSTALL=no keeps install from installing.
set -eu

have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

# The packages of Debian and its kin that have what is missing.
missing() {
	have redis-server || printf 'redis-server '
	have postfix || printf 'postfix '
	have saslpasswd2 || printf 'sasl2-bin libsasl2-modules '
}

# What "make bench" uses besides: without it, clients of our own make the load.
missing_bench() {
	have redis-server || printf 'redis-server '
	have wrk || printf 'wrk '
}

install() {
	want=$1
	[ -n "$want" ] || return 0
	if [ "${SEALPOST_TEST_INSTALL:-yes}" = no ]; then
		echo "not installed, as SEALPOST_TEST_INSTALL=no: $want"
		return 0
	fi
	if ! have apt-get || [ "$(id -u)" != 0 ]; then
		echo "to run everything install: ${want}(as root on Debian: apt-get install $want)"
		return 0
	fi
	echo "installing: $want"
	log=$(mktemp)
	# RUNLEVEL=1 and "No configuration": the tests start servers of their own,
	# so the packages must not start or set up any for the system.
	echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections 2>/dev/null || true
	# shellcheck disable=SC2086 # a list of words
	if ! { apt-get update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends $want; } >"$log" 2>&1; then
		tail -5 "$log"
		echo "apt-get could not install: $want"
	fi
	rm -f "$log"
}

# env chooses the image of Redis: what the caller says, else redis:7 if it is
# here or can be pulled, else one made of this machine's own redis-server. Where
# nothing can be pulled the reaper of testcontainers, an image too, stays off;
# the tests remove their containers themselves.
env_lines() {
	docker version >/dev/null 2>&1 || return 0
	if [ -n "${SEALPOST_TEST_REDIS_IMAGE:-}" ] || docker image inspect redis:7 >/dev/null 2>&1 ||
		timeout 60 docker pull -q redis:7 >/dev/null 2>&1; then
		return 0
	fi
	if image=$(sh integration/docker/make-image.sh); then
		echo "export SEALPOST_TEST_REDIS_IMAGE=$image TESTCONTAINERS_RYUK_DISABLED=true"
	fi
}

# first prints the first line of a command's output, or what is missing.
first() { "$@" 2>/dev/null | head -n 1; }

report() {
	if have redis-server; then
		echo "redis:  $(redis-server --version | sed 's/.* v=\([^ ]*\).*/redis-server \1/'), own processes"
	elif [ -n "${SEALPOST_TEST_REDIS:-}" ]; then
		echo "redis:  the one of SEALPOST_TEST_REDIS; tests that stop it are skipped"
	else
		echo "redis:  none; all tests on a real Redis are skipped"
	fi
	if ! have postfix || ! have saslpasswd2; then
		echo "smtp:   no Postfix; its tests are skipped"
	elif [ "$(id -u)" != 0 ]; then
		echo "smtp:   Postfix needs root to start; its tests are skipped"
	else
		echo "smtp:   Postfix $(first postconf -dh mail_version), own instances"
	fi
	if [ -d .cache/fauxqs/node_modules/fauxqs ]; then
		echo "sqs:    fauxqs in .cache/fauxqs"
	elif have npm; then
		echo "sqs:    fauxqs, to be installed by npm $(first npm --version)"
	else
		echo "sqs:    no npm; the tests with fauxqs are skipped"
	fi
	if ! have node; then
		echo "sdk:    no node; the tests with the JavaScript client are skipped"
	elif [ -d .cache/sdk/node_modules/@tago-io/sdk ]; then
		echo "sdk:    @tago-io/sdk in .cache/sdk, node $(first node --version)"
	elif have npm; then
		echo "sdk:    @tago-io/sdk, to be installed by npm $(first npm --version)"
	else
		echo "sdk:    no npm; the tests with the JavaScript client are skipped"
	fi
	if engine=$(docker version --format '{{.Server.Version}}' 2>/dev/null) && [ -n "$engine" ]; then
		echo "docker: engine $engine, image ${SEALPOST_TEST_REDIS_IMAGE:-redis:7}"
	else
		echo "docker: no engine answers; the tests in containers are skipped"
	fi
}

case ${1:-} in
install) install "$(missing)" ;;
bench) install "$(missing_bench)" ;;
report) report ;;
env) env_lines ;;
*)
	echo "usage: $0 install|bench|report|env" >&2
	exit 2
	;;
esac
