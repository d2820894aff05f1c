//! The walls between the rooms on the map: which crate may depend on what, from where, and under which licences.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cmd;

/// Crates that only these may depend on directly.
const RESERVED: &[(&str, &[&str])] = &[
    ("aya", &["podscope-agent", "aya-log"]),
    ("aya-ebpf", &["podscope-probes", "aya-log-ebpf"]),
    ("argon2", &["podscope-hub"]),
    ("axum", &["podscope-hub", "axum-extra", "tonic", "utoipa-axum"]),
    ("kube", &["podscope-cluster"]),
    ("k8s-openapi", &["podscope-cluster", "kube-client", "kube-core", "kube"]),
    ("nvml-wrapper", &["podscope-gpu"]),
    ("podscope-cluster", &["podscope-agent"]),
    ("podscope-gpu", &[]),
    ("sqlx", &["podscope-hub"]),
];
/// Crates of the workspace that may depend on nothing else than these; tests may use more.
const BARE: &[(&str, &[&str])] = &[
    ("podscope-abi", &["bytemuck"]),
    ("podscope-catalog", &[]),
    ("podscope-gpu-document", &["serde", "serde_json", "thiserror"]),
];
/// Crates of which there is one version.
const SINGLE: &[&str] = &["hyper", "prost", "rustls", "tokio", "tonic"];
/// Crates that must not be there: ring is the one TLS provider.
const BANNED: &[&str] = &["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys"];
/// Where a dependency may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Licences that a dependency may be used under.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "WTFPL",
    "Zlib",
];

/// A package and what it depends on directly, without its tests' dependencies.
struct Package {
    name: String,
    licence: String,
    /// Empty for the crates of the workspace.
    source: String,
    needs: BTreeSet<String>,
}

/// Checks every wall.
///
/// # Errors
/// When one is broken; the message has all of them.
pub fn check() -> Result<()> {
    let mut cargo = cmd::cargo(["metadata", "--format-version", "1", "--all-features", "--filter-platform"]);
    let text = cmd::output(cargo.arg(host()?))?;
    let metadata = serde_json::from_str(&text).context("cargo's metadata is no JSON")?;
    let faults = faults(&packages(&metadata).context("cargo's metadata has another form than expected")?);
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

/// The target triple of this machine.
///
/// # Errors
/// When rustc does not run or does not say it.
pub fn host() -> Result<String> {
    let said = cmd::output(&mut cmd::command("rustc", ["--version", "--verbose"]))?;
    let line = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc does not say its host")?.to_owned())
}

fn packages(metadata: &Value) -> Option<Vec<Package>> {
    let listed = metadata["packages"].as_array()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let by_id: BTreeMap<String, &Value> = listed.iter().map(|package| (text(&package["id"]), package)).collect();
    let package = |node: &Value| {
        let own = by_id.get(node["id"].as_str()?)?;
        let outside_tests = |dep: &&Value| {
            dep["dep_kinds"].as_array().is_none_or(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
        };
        let needs = node["deps"].as_array()?.iter().filter(outside_tests);
        let needs = needs.filter_map(|dep| Some(text(&by_id.get(dep["pkg"].as_str()?)?["name"]))).collect();
        Some(Package { name: text(&own["name"]), licence: text(&own["license"]), source: text(&own["source"]), needs })
    };
    metadata["resolve"]["nodes"].as_array()?.iter().map(package).collect()
}

fn faults(packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        for (reserved, users) in RESERVED {
            if package.needs.contains(*reserved) && !users.contains(&name) {
                faults.push(format!("{name} may not depend on {reserved}"));
            }
        }
        if let Some((_, allowed)) = BARE.iter().find(|(bare, _)| *bare == name) {
            let others = package.needs.iter().filter(|need| !allowed.contains(&need.as_str()));
            faults.extend(others.map(|need| format!("{name} may not depend on {need}")));
        }
        if BANNED.contains(&name) {
            faults.push(format!("{name} may not be used"));
        }
        if !["", REGISTRY].contains(&package.source.as_str()) {
            faults.push(format!("{name} comes from {}, not from crates.io", package.source));
        }
        if !licence_is_allowed(&package.licence) {
            faults.push(format!("{name} is under {:?}, which is not among the allowed licences", package.licence));
        }
    }
    for single in SINGLE {
        let count = packages.iter().filter(|package| package.name == *single).count();
        if count > 1 {
            faults.push(format!("{count} versions of {single}; one is allowed"));
        }
    }
    faults
}

/// Whether an SPDX expression leaves a way that is allowed. A slash is an old form of OR.
fn licence_is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest) && rest.is_empty()
}

fn any_of(rest: &mut &[&str]) -> bool {
    let mut allowed = all_of(rest);
    while let ["OR", after @ ..] = *rest {
        *rest = after;
        // Both sides are read in any case: what follows them must be found.
        allowed |= all_of(rest);
    }
    allowed
}

fn all_of(rest: &mut &[&str]) -> bool {
    let mut allowed = one(rest);
    while let ["AND", after @ ..] = *rest {
        *rest = after;
        allowed &= one(rest);
    }
    allowed
}

fn one(rest: &mut &[&str]) -> bool {
    match *rest {
        ["(", after @ ..] => {
            *rest = after;
            let allowed = any_of(rest);
            let closed = rest.first() == Some(&")");
            *rest = rest.get(1..).unwrap_or_default();
            allowed && closed
        }
        [licence, "WITH", exception, after @ ..] => {
            *rest = after;
            LICENCES.contains(&format!("{licence} WITH {exception}").as_str())
        }
        [licence, after @ ..] => {
            *rest = after;
            LICENCES.contains(licence)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, licence: &str, needs: &[&str]) -> Package {
        let needs = needs.iter().map(|&need| need.to_owned()).collect();
        Package { name: name.to_owned(), licence: licence.to_owned(), source: REGISTRY.to_owned(), needs }
    }

    #[test]
    fn licence_expressions_are_read_as_spdx_defines_them() {
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "(MIT OR GPL-2.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "GPL-3.0-only AND MIT OR ISC",
        ] {
            assert!(licence_is_allowed(allowed), "{allowed}");
        }
        for refused in [
            "",
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR ISC) AND GPL-3.0-only",
            "MIT AND (GPL-3.0-only OR AGPL-3.0-only)",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "(MIT",
            "MIT)",
        ] {
            assert!(!licence_is_allowed(refused), "{refused}");
        }
    }

    #[test]
    fn each_wall_is_reported_when_it_is_broken() {
        let found = faults(&[
            package("podscope-cli", "Apache-2.0", &["aya"]),
            package("podscope-agent", "Apache-2.0", &["aya"]),
            package("podscope-catalog", "Apache-2.0", &["serde"]),
            package("podscope-abi", "Apache-2.0", &["bytemuck"]),
            package("aws-lc-rs", "ISC", &[]),
            package("copyleft", "GPL-3.0-only", &[]),
            package("tonic", "MIT", &["axum"]),
            package("tonic", "MIT", &[]),
            Package { source: "git+https://example.org/fork".to_owned(), ..package("forked", "MIT", &[]) },
        ]);
        let expected = [
            "podscope-cli may not depend on aya",
            "podscope-catalog may not depend on serde",
            "aws-lc-rs may not be used",
            "copyleft is under \"GPL-3.0-only\", which is not among the allowed licences",
            "forked comes from git+https://example.org/fork, not from crates.io",
            "2 versions of tonic; one is allowed",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn dependencies_of_tests_do_not_count() {
        let metadata = serde_json::json!({
            "packages": [
                { "id": "a", "name": "podscope-cli", "license": "MIT" },
                { "id": "b", "name": "aya", "license": "MIT" },
                { "id": "c", "name": "serde", "license": "MIT" },
            ],
            "resolve": { "nodes": [
                { "id": "a", "deps": [
                    { "pkg": "b", "dep_kinds": [{ "kind": "dev" }] },
                    { "pkg": "c", "dep_kinds": [{ "kind": "dev" }, { "kind": null }] },
                ] },
            ] },
        });
        let packages = packages(&metadata).unwrap();
        assert_eq!(packages[0].needs, BTreeSet::from(["serde".to_owned()]));
    }
}
