//! What a program is made of, as a CycloneDX bill of materials (version 1.5, ECMA-424).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cmd;

/// The bill of a package's program for a target: every crate that is linked into it. The same bytes each time.
///
/// # Errors
/// When cargo does not know the package.
pub(super) fn of(package: &str, target: &str) -> Result<String> {
    let mut cargo = cmd::cargo(["metadata", "--format-version", "1", "--locked", "--filter-platform"]);
    let text = cmd::output(cargo.arg(target))?;
    let metadata = serde_json::from_str(&text).context("cargo's metadata is no JSON")?;
    let bill = bill(&metadata, package).with_context(|| format!("cargo's metadata has no package {package}"))?;
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

fn bill(metadata: &Value, package: &str) -> Option<Value> {
    let by_id = |list: &Value| -> Option<BTreeMap<String, Value>> {
        list.as_array()?.iter().map(|each| Some((each["id"].as_str()?.to_owned(), each.clone()))).collect()
    };
    let packages = by_id(&metadata["packages"])?;
    let nodes = by_id(&metadata["resolve"]["nodes"])?;
    let root = packages.iter().find(|(_, each)| each["name"] == package).map(|(id, _)| id.clone())?;
    let mut linked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut open = vec![root.clone()];
    while let Some(id) = open.pop() {
        if let Entry::Vacant(place) = linked.entry(id) {
            let needs = needs(nodes.get(place.key())?)?;
            open.extend(needs.iter().cloned());
            place.insert(needs);
        }
    }
    let name = |id: &str| packages.get(id).map(url);
    let components: Option<Vec<Value>> =
        linked.keys().filter(|id| **id != root).map(|id| Some(component(packages.get(id)?, "library"))).collect();
    let dependencies: Option<Vec<Value>> = linked
        .iter()
        .map(|(id, needs)| {
            let needs: Option<BTreeSet<String>> = needs.iter().map(|id| name(id)).collect();
            Some(json!({ "ref": name(id)?, "dependsOn": needs? }))
        })
        .collect();
    Some(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(packages.get(&root)?, "application") },
        "components": components?,
        "dependencies": dependencies?,
    }))
}

/// What is linked: neither what tests nor what build scripts need.
fn needs(node: &Value) -> Option<BTreeSet<String>> {
    let linked =
        |dep: &&Value| dep["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()));
    node["deps"].as_array()?.iter().filter(linked).map(|dep| Some(dep["pkg"].as_str()?.to_owned())).collect()
}

fn url(package: &Value) -> String {
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    format!("pkg:cargo/{}@{}", text("name"), text("version"))
}

fn component(package: &Value, kind: &str) -> Value {
    // A slash is an old form of OR, which is no SPDX expression.
    let licence = package["license"].as_str().unwrap_or("NOASSERTION").replace('/', " OR ");
    json!({
        "type": kind,
        "bom-ref": url(package),
        "name": package["name"],
        "version": package["version"],
        "purl": url(package),
        "licenses": [{ "expression": licence }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_has_what_is_linked_and_nothing_else() {
        let package =
            |name: &str, licence: &str| json!({ "id": name, "name": name, "version": "1.0.0", "license": licence });
        let dep = |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [
                package("app", "MIT"), package("lib", "MIT/Apache-2.0"), package("deep", "ISC"),
                package("tested", "MIT"), package("builder", "MIT"), package("elsewhere", "MIT"),
            ],
            "resolve": { "nodes": [
                { "id": "app", "deps": [dep("lib", Value::Null), dep("tested", "dev".into()), dep("builder", "build".into())] },
                { "id": "lib", "deps": [dep("deep", Value::Null)] },
                { "id": "deep", "deps": [] }, { "id": "tested", "deps": [] },
                { "id": "builder", "deps": [] }, { "id": "elsewhere", "deps": [] },
            ] },
        });
        let bill = bill(&metadata, "app").unwrap();
        let names: Vec<&str> =
            bill["components"].as_array().unwrap().iter().filter_map(|each| each["name"].as_str()).collect();
        assert_eq!(names, ["deep", "lib"]);
        assert_eq!(bill["components"][1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(
            bill["dependencies"][0],
            json!({ "ref": "pkg:cargo/app@1.0.0", "dependsOn": ["pkg:cargo/lib@1.0.0"] })
        );
        assert_eq!(bill["metadata"]["component"]["purl"], "pkg:cargo/app@1.0.0");
    }
}
