#!/bin/sh
# Makes a container image of this machine's own redis-server, for machines
# that have a Docker engine but no registry to pull from.
#
#   integration/docker/make-image.sh [NAME]      default sealpost-test/redis:7
#
# The image holds redis-server, redis-cli and the libraries they are linked
# with: 20 MB, made in a second. It is for tests only.
set -eu
name=${1:-sealpost-test/redis:7}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

server=$(command -v redis-server) || { echo "make-image: no redis-server on this machine" >&2; exit 1; }
client=$(command -v redis-cli) || { echo "make-image: no redis-cli on this machine" >&2; exit 1; }
mkdir -p "$root/usr/local/bin" "$root/data" "$root/tmp"
cp -L "$server" "$client" "$root/usr/local/bin/"
# ldd names each library by its full path, the loader among them.
for lib in $(ldd "$server" "$client" | grep -oE '/[^ :]+\.so[^ ]*' | sort -u); do
	mkdir -p "$root$(dirname "$lib")"
	cp -L "$lib" "$root$lib"
done
tar -C "$root" -c . | docker import \
	-c 'WORKDIR /data' -c 'EXPOSE 6379' -c 'ENV PATH=/usr/local/bin:/bin' \
	-c 'CMD ["redis-server","--protected-mode","no","--save",""]' - "$name" >/dev/null
echo "$name"
