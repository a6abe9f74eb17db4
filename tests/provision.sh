#!/bin/sh
# Installs the Debian packages of packages.txt that are missing, and starts none of their daemons.
# Where it cannot, it says why and exits 0: the tests then skip and name what is missing.
set -eu

here=$(dirname "$0")
policy=/usr/sbin/policy-rc.d

give_up() {
    echo "provision.sh: $1; the tests with real clients and with systemd will be skipped" >&2
    exit 0
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

for tool in dpkg-query apt-get; do
    command -v "$tool" >/dev/null || give_up "there is no $tool here, only on Debian and its kin"
done

wanted=$(sed 's/#.*//' "$here/packages.txt")
missing=
for package in $wanted; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

[ "$(id -u)" -eq 0 ] || give_up "only root can install$missing"

# docker.io, containerd and docker-registry start their services when they are installed; this is
# Debian's own way to say no. A policy that is already there is the administrator's and stays.
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
echo "provision.sh: installing$missing"
apt-get update -q || give_up "apt-get update failed"
# The list is meant to split into words.
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $missing || give_up "apt-get install failed"
