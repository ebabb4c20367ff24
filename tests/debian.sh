#!/bin/bash
# debian.sh DIR: the Debian packages in DIR (make deb) in a root of their own: lintian finds no error and no warning, they are
# installed over older ones and once more with what they depend on, their tests (debian/tests) pass, they are removed, and nothing of them is
# left but what a user has put beside their files.
# As root, with mmdebstrap and lintian; packages come from where apt of this machine has them.
packages=$(cd "$1" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
status=0
fail() { echo "FAIL debian: $1"; status=1; }
[ "$(id -u)" = 0 ] || { echo "debian: not run, it needs root"; exit 1; }
lintian --allow-root --fail-on error,warning "$packages"/*.changes || fail "lintian"
root=$(mktemp -d /tmp/cm-debian-XXXXXX)
trap 'umount "$root/proc" 2>/dev/null; rm -rf --one-file-system "$root"' EXIT
mmdebstrap --mode=root --variant=apt --quiet "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" $(ls /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null) ||
    { echo "FAIL debian: no root could be made"; exit 1; }
cp /etc/resolv.conf "$root/etc/"
mount -t proc proc "$root/proc" 2>/dev/null || echo "debian: /proc could not be mounted in the root"
mkdir "$root/packages"
tests=$(sed -n "s/^Tests: //p" debian/tests/control)
cp "$packages"/*.deb "$root/packages/"
for test in $tests; do cp "debian/tests/$test" "$root/packages/"; done
rm -f "$root"/packages/*-dbgsym_*
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
get() { in_root apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >"$root/said" 2>&1 || { fail "apt-get $*"; tail -5 "$root/said"; }; }
names=$(for deb in "$root"/packages/*.deb; do dpkg-deb -f "$deb" Package; done)
# What the packages depend on comes first, so that only they come and go in between.
get update
depends=$(for deb in "$root"/packages/*.deb; do dpkg-deb -f "$deb" Depends; echo; done | tr ',' '\n' | sed 's/ *(.*//; s/|.*//; s/:any//; s/ //g' | sort -u | grep -vxF "$names")
get install g++ pkg-config cmake make python3 mpi-default-bin $depends
list() { in_root find / -xdev \( -path /proc -o -path /tmp -o -path /var -o -path /packages -o -name __pycache__ \) -prune -o -print | grep -v '^/said$' | sort; }
list >"$root.before"
# The same packages under an older version, of the same source.
version=$(dpkg-deb -f "$packages"/libconsistency0_*.deb Version)
older=${version%-*}-0older
dpkg --compare-versions "$older" lt "$version" || fail "$older is not older than $version"
mkdir "$root/packages/older"
for deb in "$root"/packages/*.deb; do
    dpkg-deb -R "$deb" "$root/packages/one" && sed -i "s/$version/$older/g" "$root/packages/one/DEBIAN/control" &&
        dpkg-deb --root-owner-group -b "$root/packages/one" "$root/packages/older/" >/dev/null || fail "an older $deb"
    rm -rf "$root/packages/one"
done
get install $(cd "$root/packages/older" && printf '/packages/older/%s ' *.deb)
[ "$(in_root dpkg-query -W -f '${Version}\n' $names | sort -u)" = "$older" ] || fail "older packages are not installed"
for again in "" --reinstall; do get install $again $(cd "$root/packages" && printf '/packages/%s ' *.deb); done
[ "$(in_root dpkg-query -W -f '${Version}\n' $names | sort -u)" = "$version" ] || fail "older packages are not replaced"
for test in $tests; do
    in_root "/packages/$test" >"$root/said" 2>&1 || { fail "debian/tests/$test"; tail -5 "$root/said"; }
    tail -1 "$root/said"
done
for name in $names; do in_root dpkg -L "$name" >/dev/null || fail "$name is not installed"; done
echo changed >>"$root/usr/include/consistency.h"
echo mine >"$root/usr/share/consistency/features/mine"
get purge $names
[ "$(cat "$root/usr/share/consistency/features/mine")" = mine ] || fail "a user's file is gone"
rm -rf "$root/usr/share/consistency"
list >"$root.after"
cmp -s "$root.before" "$root.after" || fail "after the removal: $(diff "$root.before" "$root.after" | head -5)"
rm -f "$root.before" "$root.after"
# The same tests as autopkgtest runs them, with the packages that debian/tests/control asks for.
if command -v autopkgtest >/dev/null; then
    git archive --prefix=source/ HEAD | tar -x -C "$root/packages"
    autopkgtest -q -B "$root"/packages/*.deb "$root/packages/source" -- chroot "$root" >"$root/said" 2>&1 || { fail "autopkgtest"; tail -8 "$root/said"; }
    for test in $tests; do grep -E "^$test +PASS" "$root/said" || fail "autopkgtest of $test: $(grep -E "^$test " "$root/said" || echo "it did not run")"; done
else
    echo "debian: autopkgtest was not run, it is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"
fi
[ $status = 0 ] && echo "debian: $(echo $names) are installed, tried and removed without a trace"
exit $status
