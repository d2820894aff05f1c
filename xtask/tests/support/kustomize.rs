//! Renders the kustomizations of this repository, of which it knows no more than they use: resources, components,
//! JSON patches and generated maps, whose names stay without the suffix that kustomize adds.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::repository;

/// The objects of a rendering.
pub(crate) type Rendered = Vec<Value>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    patches: Vec<Patch>,
    #[serde(default)]
    config_map_generator: Vec<Generator>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    target: Target,
    patch: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Generator {
    name: String,
    namespace: String,
    /// `merge`: into the map that another generator has made.
    #[serde(default)]
    behavior: String,
    #[serde(default)]
    literals: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
}

/// What `kubectl kustomize` makes of a folder of the repository, with components of deploy/components on top.
pub(crate) fn render(dir: &str, components: &[&str]) -> Rendered {
    let mut objects = Rendered::new();
    apply(&repository().join(dir), &mut objects);
    for component in components {
        apply(&repository().join("deploy/components").join(component), &mut objects);
    }
    objects
}

/// The documents of a YAML file.
pub(crate) fn read_yaml(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn apply(dir: &Path, objects: &mut Rendered) {
    let file = dir.join("kustomization.yaml");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let it: Kustomization = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    for resource in &it.resources {
        match dir.join(resource) {
            path if path.is_dir() => apply(&path, objects),
            path => objects.extend(read_yaml(&path)),
        }
    }
    it.components.iter().for_each(|component| apply(&dir.join(component), objects));
    it.config_map_generator.iter().for_each(|generator| generator.apply(dir, objects));
    it.patches.iter().for_each(|patch| patch.apply(objects));
}

impl Generator {
    fn apply(&self, dir: &Path, objects: &mut Rendered) {
        let map = self.object(dir);
        if self.behavior != "merge" {
            objects.push(map);
            return;
        }
        let earlier = objects.iter_mut().find(|object| object["metadata"] == map["metadata"]);
        let earlier = earlier.unwrap_or_else(|| panic!("no ConfigMap {} to merge into", self.name));
        for (key, value) in map["data"].as_object().into_iter().flatten() {
            earlier["data"][key] = value.clone();
        }
    }

    fn object(&self, dir: &Path) -> Value {
        let pair = |literal: &String| {
            let (key, value) = literal.split_once('=').unwrap_or_else(|| panic!("{literal} is no literal"));
            (key.to_owned(), Value::from(value))
        };
        let file = |name: &String| (name.clone(), Value::from(fs::read_to_string(dir.join(name)).unwrap()));
        let data: Map<String, Value> = self.literals.iter().map(pair).chain(self.files.iter().map(file)).collect();
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": { "name": self.name, "namespace": self.namespace },
        })
    }
}

impl Patch {
    fn apply(&self, objects: &mut Rendered) {
        let operations: json_patch::Patch = serde_saphyr::from_str(&self.patch).unwrap();
        let aimed = |object: &&mut Value| {
            object["kind"] == self.target.kind.as_str() && object["metadata"]["name"] == self.target.name.as_str()
        };
        let mut hit = false;
        for object in objects.iter_mut().filter(aimed) {
            json_patch::patch(object, &operations).unwrap_or_else(|error| panic!("{error}\n{}", self.patch));
            hit = true;
        }
        assert!(hit, "no {} {} to patch", self.target.kind, self.target.name);
    }
}
