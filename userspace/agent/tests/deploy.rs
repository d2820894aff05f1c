//! What is written elsewhere about the agent's command line: the flags of the manifests and of the README.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::{CommandFactory, Parser};
use podscope_agent::config::Config;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The flags in a manifest: list items of `args`, and values that patches add to it.
fn flags(path: &str) -> Vec<String> {
    let text = read(path);
    let items = text.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("- ").or(line.strip_prefix("value: ")).filter(|item| item.starts_with("--"))
    });
    items.map(|flag| flag.replace("$(POD_IP)", "192.0.2.7")).collect()
}

#[test]
fn the_agent_accepts_the_flags_of_its_manifests() {
    let component = |name: &str| flags(&format!("deploy/components/{name}/kustomization.yaml"));
    let base = flags("deploy/base/daemonset.yaml");
    let (tls, certificates) = (component("tls"), component("client-certificates"));
    assert_eq!((base.len(), tls.len(), certificates.len()), (3, 2, 1));
    for added in [vec![], tls.clone(), [tls, certificates].concat(), component("no-runtime")] {
        let args = base.iter().chain(&added);
        let config = Config::try_parse_from(std::iter::once(&"podscope-agent".to_owned()).chain(args))
            .unwrap_or_else(|error| panic!("{added:?}: {error}"));
        assert_eq!(config.listen.to_string(), "192.0.2.7:9435");
        assert_eq!(config.tls().is_some(), added.iter().any(|flag| flag.starts_with("--tls-cert")));
    }
}

#[test]
fn the_readme_names_flags_that_exist() {
    let readme = read("README.md");
    let (_, section) = readme.split_once("\n## Flags\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let named: BTreeSet<&str> =
        section.split('`').skip(1).step_by(2).filter_map(|span| span.strip_prefix("--")).collect();
    let command = Config::command();
    let known: BTreeSet<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let unknown: Vec<_> = named.iter().filter(|name| !known.contains(*name) && **name != "help").collect();
    assert!(named.len() > 10 && unknown.is_empty(), "{unknown:?}");
}
