#!/bin/sh
# Becomes a systemd that has this machine's programs, and writes none of its files: its root is an
# overlay in memory. To be run in mount and PID namespaces of its own, with which all of it ends.
#
#   boot.sh DIRECTORY TREE INSTALL NAME CGROUP...
#
# DIRECTORY is an empty one to work in. TREE, a source tree, becomes /usr/src/regroute there. INSTALL
# are the shell commands that install the program; they are run in the tree before the boot. NAME is
# that of the machine. CGROUPs are its own, one a hierarchy.
set -eu
directory=$1 tree=$2 install=$3 name=$4
shift 4
root=$directory/root

mount -t tmpfs tmpfs "$directory"
mkdir "$directory/upper" "$directory/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$directory/upper,workdir=$directory/work" "$root"
: >"$root/etc/machine-id"
rm -f "$root/usr/sbin/policy-rc.d"
mkdir -p "$root/usr/src"
cp -R "$tree" "$root/usr/src/regroute"

# Only /opt is the new machine's here. All the rest is this one's: the network, by which pip reaches
# PyPI, pip's cache and its settings.
mount --bind "$root/opt" /opt
(cd "$root/usr/src/regroute" && sh -euc "$install")
umount /opt

for cgroup; do
    echo 0 >"$cgroup/cgroup.procs"
done
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec unshare --net sh -euc 'ip link set lo up; exec "$@"' sh \
    systemd-nspawn --quiet --directory="$root" --machine="$name" --boot --register=no --keep-unit \
    --console=pipe --network-namespace-path=/proc/self/ns/net -- --unit=basic.target
