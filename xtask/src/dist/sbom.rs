//! The bill of materials: CycloneDX 1.5 (<https://cyclonedx.org/docs/1.5/json/>), from what cargo
//! resolved.
//!
//! It lists what is in the program: normal dependencies for the released machine, and those of the
//! kernel half. Build scripts and tests leave nothing in it and are left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{cargo, digest, process, workspace::Workspace};

/// The part of `cargo metadata` that matters here, for one package and one machine.
pub(super) struct Metadata {
    root: String,
    packages: BTreeMap<String, Package>,
    /// By package: those that it links.
    links: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Output {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// None for a normal one.
    kind: Option<String>,
}

impl Metadata {
    /// What the workspace's package `name` consists of on `target`.
    pub(super) fn read(workspace: &Workspace, name: &str, target: &str) -> Result<Self> {
        let mut command = cargo::command(workspace);
        command.args(["metadata", "--format-version=1", "--locked"]);
        command.args(["--filter-platform", target]);
        let text = process::read(&mut command)?;
        Self::parse(&text, name)
    }

    fn parse(text: &str, name: &str) -> Result<Self> {
        let Output { packages, resolve } =
            serde_json::from_str(text).context("reading what cargo metadata wrote")?;
        let is_root = |package: &&Package| package.name == name && package.source.is_none();
        let root = packages.iter().find(is_root);
        let root = root.with_context(|| format!("the workspace has no package {name}"))?;
        let is_normal =
            |dependency: &Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let links = resolve.nodes.into_iter().map(|node| {
            let normal = node.deps.into_iter().filter(is_normal);
            (node.id, normal.map(|dependency| dependency.pkg).collect())
        });
        Ok(Self {
            root: root.id.clone(),
            links: links.collect(),
            packages: packages
                .into_iter()
                .map(|package| (package.id.clone(), package))
                .collect(),
        })
    }

    /// The version of the package that was asked for.
    pub(super) fn version(&self) -> Result<&str> {
        let root = self.packages.get(&self.root);
        Ok(&root.context("the root is one of the packages")?.version)
    }

    /// What is linked into the root, itself included.
    fn linked(&self) -> impl Iterator<Item = &Package> {
        let mut seen = BTreeSet::from([self.root.as_str()]);
        let mut next = VecDeque::from([self.root.as_str()]);
        while let Some(id) = next.pop_front() {
            for linked in self.links.get(id).into_iter().flatten() {
                if seen.insert(linked) {
                    next.push_back(linked);
                }
            }
        }
        seen.into_iter().filter_map(|id| self.packages.get(id))
    }
}

impl Package {
    /// The package URL (<https://github.com/package-url/purl-spec>).
    fn url(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// The bill of the programs in a folder, which are built from `parts`, the first of which is the main
/// program itself.
pub(super) fn bill(workspace: &Workspace, parts: &[Metadata], programs: &Path) -> Result<String> {
    let lock = workspace.root.join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("reading {}", lock.display()))?;
    let mut hashes = BTreeMap::new();
    for (program, package) in super::program::PROGRAMS {
        hashes.insert(package, digest::of_file(&programs.join(program))?);
    }
    serde_json::to_string_pretty(&document(parts, &checksums(&lock), &hashes)?)
        .map(|text| text + "\n")
        .context("writing the bill of materials")
}

fn document(
    parts: &[Metadata],
    checksums: &BTreeMap<(&str, &str), &str>,
    hashes: &BTreeMap<&str, String>,
) -> Result<Value> {
    let first = parts.first().context("a program has a package")?;
    let version = first.version()?;
    let (mut components, mut dependencies) = (BTreeMap::new(), BTreeMap::<_, BTreeSet<_>>::new());
    for part in parts {
        for package in part.linked() {
            let url = package.url();
            let linked = part.links.get(&package.id).into_iter().flatten();
            let linked = linked
                .filter_map(|id| part.packages.get(id))
                .map(Package::url);
            dependencies.entry(url.clone()).or_default().extend(linked);
            if package.id != first.root {
                let mut component = component(package, checksums);
                // Programs that are shipped beside the main one.
                if let Some(sum) = hashes.get(package.name.as_str()) {
                    component["type"] = json!("application");
                    component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
                }
                components.insert(url, component);
            }
        }
    }
    let dependencies: Vec<Value> = dependencies
        .into_iter()
        .map(|(url, linked)| json!({ "ref": url, "dependsOn": linked }))
        .collect();
    let root = first.packages.get(&first.root);
    let root = root.context("the root is one of the packages")?;
    let sum = hashes.get(root.name.as_str());
    let sum = sum.context("the main program has a hash")?;
    let root = root.url();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "tracer",
                "version": version,
                "purl": root,
                "hashes": [{ "alg": "SHA-256", "content": sum }],
            },
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies,
    }))
}

fn component(package: &Package, checksums: &BTreeMap<(&str, &str), &str>) -> Value {
    let url = package.url();
    let mut component = json!({
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
    });
    if let Some(license) = &package.license {
        // Older crates separate alternatives by a slash, which SPDX does not know.
        let expression = license.replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if let Some(sum) = checksums.get(&(package.name.as_str(), package.version.as_str())) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

/// By name and version, the SHA-256 of each crate that comes from a registry.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let mut sums = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            package.lines().find_map(|line| {
                let value = line.strip_prefix(key)?.strip_prefix(" = \"")?;
                value.strip_suffix('"')
            })
        };
        if let (Some(name), Some(version), Some(sum)) =
            (value("name"), value("version"), value("checksum"))
        {
            sums.insert((name, version), sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\
                        checksum = \"00ff\"\n\n[[package]]\nname = \"tool\"\nversion = \"0.1.0\"\n";

    fn metadata() -> Metadata {
        let package = |name: &str, version: &str, source: Option<&str>| {
            json!({ "id": name, "name": name, "version": version, "license": "MIT/Apache-2.0",
                    "source": source })
        };
        let text = json!({
            "packages": [
                package("tool", "0.1.0", None),
                package("a", "1.0.0", Some("registry")),
                package("cc", "1.2.0", Some("registry")),
            ],
            "resolve": { "nodes": [
                { "id": "tool", "deps": [
                    { "pkg": "a", "dep_kinds": [{ "kind": null }] },
                    { "pkg": "cc", "dep_kinds": [{ "kind": "build" }] },
                ] },
                { "id": "a", "deps": [] },
                { "id": "cc", "deps": [] },
            ] },
        });
        Metadata::parse(&text.to_string(), "tool").expect("it is metadata")
    }

    #[test]
    fn a_bill_lists_what_is_linked_with_its_checksum_and_nothing_else() {
        let hashes = BTreeMap::from([("tool", String::from("ab"))]);
        let bill = document(&[metadata()], &checksums(LOCK), &hashes).expect("it has a root");
        let components = bill["components"].as_array().expect("a list");
        assert_eq!(components.len(), 1, "{components:?}");
        assert_eq!(components[0]["purl"], "pkg:cargo/a@1.0.0");
        assert_eq!(components[0]["hashes"][0]["content"], "00ff");
        assert_eq!(
            components[0]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
        assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], "ab");
        let tool = &bill["dependencies"][1];
        assert_eq!(tool["ref"], "pkg:cargo/tool@0.1.0");
        assert_eq!(tool["dependsOn"], json!(["pkg:cargo/a@1.0.0"]));
    }

    #[test]
    fn a_package_that_is_not_there_is_named() {
        let error = Metadata::parse(r#"{"packages":[],"resolve":{"nodes":[]}}"#, "tool");
        let error = error.err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("the workspace has no package tool"));
    }
}
