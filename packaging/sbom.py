#!/usr/bin/env python3
"""sbom.py TARBALL [--check]: what a release is made of, as SPDX 2.3 in TARBALL's name with .spdx.json: the archive and each file in it
with their checksums, and the libraries that a build links.  The same archive gives the same bytes.

--check reads the document that is there instead, and compares it with the archive and with the rules of SPDX."""

import hashlib
import json
import re
import sys
import tarfile
import time

# name, licence, supplier's page, what it is for; as DEPS of the Makefile and oneDNN.
LIBRARIES = (("oneDNN", "Apache-2.0", "https://github.com/oneapi-src/oneDNN", "which instructions the processor has; 2.6 or 3.x; make DNNL=none does without"),
             ("LAPACK", "BSD-3-Clause", "https://www.netlib.org/lapack", "eigenvalues of the metrics; any implementation"),
             ("jansson", "MIT", "https://github.com/akheron/jansson", "JSON"),
             ("libjpeg-turbo", "IJG AND BSD-3-Clause AND Zlib", "https://libjpeg-turbo.org", "JPEG"),
             ("libpng", "libpng-2.0", "http://www.libpng.org", "PNG"),
             ("zlib", "Zlib", "https://zlib.net", "checksums and compressed members"),
             ("libzip", "BSD-3-Clause", "https://libzip.org", "zip archives"),
             ("xxHash", "BSD-2-Clause", "https://xxhash.com", "hashes of batches and weights"))


def digest(kind, data):
    return {"algorithm": kind, "checksumValue": hashlib.new(kind.lower(), data).hexdigest()}


def document(path):
    with open(path, "rb") as f:
        whole = f.read()
    name = re.sub(r".*/|\.tar\.gz$", "", path)
    version, files, newest = name.rsplit("-", 1)[1], [], 0
    with tarfile.open(path) as archive:
        for member in archive:
            newest = max(newest, int(member.mtime))
            if member.isfile():
                data = archive.extractfile(member).read()
                files.append({"SPDXID": "SPDXRef-File-%d" % len(files), "fileName": "./" + member.name.split("/", 1)[1],
                              "checksums": [digest("SHA1", data), digest("SHA256", data)],
                              "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION"})
    code = hashlib.sha1("".join(sorted(f["checksums"][0]["checksumValue"] for f in files)).encode()).hexdigest()
    main = {"SPDXID": "SPDXRef-Package", "name": "libconsistency", "versionInfo": version, "packageFileName": name + ".tar.gz",
            "downloadLocation": "NOASSERTION", "filesAnalyzed": True, "checksums": [digest("SHA256", whole)],
            "packageVerificationCode": {"packageVerificationCodeValue": code}, "licenseConcluded": "MIT", "licenseDeclared": "MIT",
            "licenseInfoFromFiles": ["NOASSERTION"], "copyrightText": "Copyright (c) 2026 the libconsistency authors",
            "primaryPackagePurpose": "LIBRARY", "hasFiles": [f["SPDXID"] for f in files]}
    packages, links = [main], [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Package")]
    for library, licence, page, purpose in LIBRARIES:
        packages.append({"SPDXID": "SPDXRef-" + library, "name": library, "downloadLocation": "NOASSERTION", "homepage": page,
                         "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": licence,
                         "copyrightText": "NOASSERTION", "comment": purpose})
        links.append(("SPDXRef-Package", "DEPENDS_ON", "SPDXRef-" + library))
    return {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
            "documentNamespace": "https://libconsistency.invalid/spdx/%s-%s" % (name, main["checksums"][0]["checksumValue"]),
            "creationInfo": {"created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest)), "creators": ["Tool: packaging/sbom.py"]},
            "packages": packages, "files": files,
            "relationships": [{"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b} for a, kind, b in links]}


def faults(found, wanted):
    """What is wrong with a document, beside the one that the archive gives."""
    ids = [e["SPDXID"] for e in [found] + found.get("packages", []) + found.get("files", [])]
    yield from ("two elements are called " + i for i in sorted(set(ids)) if ids.count(i) > 1)
    yield from ("%s is no name of SPDX" % i for i in ids if not re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", i))
    for link in found["relationships"]:
        for end in ("spdxElementId", "relatedSpdxElement"):
            if link[end] not in ids:
                yield "a relationship names %s, which is not there" % link[end]
    for key in sorted(set(found) | set(wanted)):
        if found.get(key) != wanted.get(key):
            yield "%s is not that of the archive" % key


def main():
    path = sys.argv[1]
    out, wanted = re.sub(r"\.tar\.gz$", "", path) + ".spdx.json", document(path)
    if sys.argv[2:] != ["--check"]:
        with open(out, "w", encoding="utf-8") as f:
            json.dump(wanted, f, indent=1, sort_keys=True)
            f.write("\n")
    with open(out, encoding="utf-8") as f:
        wrong = list(faults(json.load(f), wanted))
    for fault in wrong:
        print("sbom: %s: %s" % (out, fault))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
