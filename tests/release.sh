#!/bin/bash
# release.sh MAKE: what `make dist` writes.  Two clones in folders of different names, with another umask, time zone and locale, give the same
# bytes; the checksums and the bill of materials are those of the archive, a changed one is noticed; the archive unpacked gives itself again;
# and pip takes it for a source distribution of this version.
make=$1
root=$(mktemp -d /tmp/cm-release-XXXXXX)
trap 'rm -rf "$root"' EXIT
status=0
fail() { echo "FAIL release: $1"; status=1; }
git rev-parse HEAD >/dev/null 2>&1 || { echo "release: not run, this is no clone" | tee -a "${CHECK_SKIPS:-/dev/null}"; exit 0; }
git clone -q . "$root/one" && git clone -q . "$root/a folder of another name" || exit 1
(cd "$root/one" && umask 022 && TZ=UTC LC_ALL=C $make -s dist DIST="$root/d1" >/dev/null) || fail "make dist"
(cd "$root/a folder of another name" && umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 $make -s dist DIST="$root/d2" >/dev/null) || fail "make dist in the second folder"
diff -r "$root/d1" "$root/d2" || fail "two clones give different bytes"
archive=$(ls "$root"/d1/*.tar.gz)
(cd "$root/d1" && sha256sum --quiet -c SHA256SUMS) || fail "SHA256SUMS"
[ "$(wc -l <"$root/d1/SHA256SUMS")" = 2 ] || fail "SHA256SUMS has other files"
python=${PYTHON:-python3}
"$python" packaging/sbom.py "$archive" --check || fail "the bill of materials is not that of the archive"
sed -i 's/"versionInfo": "0/"versionInfo": "9/' "$root"/d2/*.spdx.json
"$python" packaging/sbom.py "$root"/d2/*.tar.gz --check >/dev/null && fail "a changed bill of materials is not noticed"
# Every library that the Makefile asks for is in it.
for name in $(sed -n 's/^DEPS := //p' Makefile) oneDNN; do
    grep -qiE "\"name\": \"(lib)?${name#lib}(-turbo)?\"" "$root"/d1/*.spdx.json || fail "the bill of materials lacks $name"
done
tar -xzf "$archive" -C "$root"
unpacked=$root/$(basename "$archive" .tar.gz)
(cd "$unpacked" && "$python" bindings/python/consistency_build.py sdist --dist "$root/d3" >/dev/null) || fail "the archive does not give an archive"
mkdir "$root/again" && tar -xzf "$root"/d3/*.tar.gz -C "$root/again" && diff -r "$unpacked" "$root/again/$(basename "$unpacked")" || fail "the archive's archive has other files"
grep -q "^Version: $(basename "$unpacked" | sed 's/.*-//')$" "$unpacked/PKG-INFO" || fail "PKG-INFO has another version"
# Where git refuses, what is not committed would be in the archive without a word.
rm "$root/one/.git/HEAD"
"$python" "$root/one/bindings/python/consistency_build.py" sdist --dist "$root/d4" 2>&1 >/dev/null | grep -q "git does not say what is committed" ||
    fail "an archive of all that lies there is made without a word"
[ $status = 0 ] && echo "release: $(basename "$archive"), $(stat -c %s "$archive") bytes, is the same from two folders; checksums, bill of materials and PKG-INFO are its own"
exit $status
