"""The bill of materials of a package: SPDX 2.3 as JSON, from docs/dependencies.md, the parts and Debian's package list."""
import hashlib
import json
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]


def rows_of_dependencies():
    """The rows of "In the program" in docs/dependencies.md: (part, version, licence)."""
    text = (TOP / "docs" / "dependencies.md").read_text(encoding="utf-8")
    section = text.split("## In the program", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    return [(row[0], row[1], row[2]) for row in rows if row[0] not in ("Part", "---")]


def debian_package_of(library):
    """(name, version, path of its copyright file) of the Debian package that brings a shared library; None if none does."""
    for path in (library, pathlib.Path("/usr") / library.relative_to("/"), library.resolve()):
        done = subprocess.run(["dpkg-query", "-S", str(path)], capture_output=True, text=True)
        if done.returncode == 0:
            name = done.stdout.split(": ")[0].split(":")[0].split(",")[0]
            version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True).stdout
            return name, version.split("\n")[0], pathlib.Path(f"/usr/share/doc/{name}/copyright")
    return None


def sha256_of(file):
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def spdx_id(text):
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-")


def bill(version, created, root, debian_parts):
    """The document as text. root: the staged folder; debian_parts: {(name, version)} whose libraries it carries."""
    packages = [{"SPDXID": "SPDXRef-px", "name": "px", "versionInfo": version, "downloadLocation": "NOASSERTION",
                 "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
                 "filesAnalyzed": False, "primaryPackagePurpose": "APPLICATION"}]
    relations = [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-px"}]

    def add(name, part_version, licence, where, relation):
        identity = spdx_id(f"{where}-{name}")
        packages.append({"SPDXID": identity, "name": name, "versionInfo": part_version, "downloadLocation": "NOASSERTION",
                         "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
                         "licenseComments": licence, "filesAnalyzed": False, "primaryPackagePurpose": "LIBRARY"})
        relations.append({"spdxElementId": "SPDXRef-px", "relationshipType": relation, "relatedSpdxElement": identity})

    for name, part_version, licence in rows_of_dependencies():
        add(name, part_version, licence, "part", "DEPENDS_ON")
    for name, part_version in sorted(debian_parts):
        add(name, part_version, f"see licences/{name}.txt", "debian", "CONTAINS")
    files = []
    for file in sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
        name = "./" + str(file.relative_to(root))
        files.append({"SPDXID": spdx_id("file-" + hashlib.sha256(name.encode()).hexdigest()[:16]), "fileName": name,
                      "checksums": [{"algorithm": "SHA256", "checksumValue": sha256_of(file)}],
                      "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION"})
    whole = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    document = {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"px-{version}",
                "documentNamespace": f"urn:px:sbom:{version}:{whole[:32]}",
                "creationInfo": {"created": created, "creators": ["Tool: tools/package"]},
                "packages": packages, "files": files, "relationships": relations}
    return json.dumps(document, indent=1) + "\n"
