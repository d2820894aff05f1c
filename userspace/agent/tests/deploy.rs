//! What is written elsewhere about the agent: the flags of the manifests and of the README, and the tables of its
//! privileges in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use podscope_agent::config::Config;
use podscope_agent::confine::calls::{Call, GROUPS, Named, When};
use podscope_agent::confine::{May, PLACES, SINCE};
use podscope_agent::privileges::NEEDS;

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> String {
    let path = at(path);
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

/// A Markdown table.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    line(&head) + &rule + &rows.into_iter().map(|row| line(&row)).collect::<String>()
}

fn capabilities() -> String {
    let or_never = |text: &str| if text.is_empty() { "never".to_owned() } else { text.to_owned() };
    let rows = NEEDS.iter().map(|need| {
        let granted = if need.granted { "granted" } else { "not granted" };
        let kept = or_never(need.kept_when);
        vec![format!("`{}`", need.capability), need.purpose.into(), kept, need.without.into(), granted.into()]
    });
    table(&["capability", "what for", "kept after attaching", "without it", "by the DaemonSet"], rows)
}

fn calls() -> String {
    let names = |values: &[Named]| values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let one = |call: &Call| match call.when {
        When::Always => format!("`{}`", call.name()),
        When::OneOf(_, values) => format!("`{}` ({})", call.name(), names(values)),
        When::With(_, bits) => format!("`{}` (with {})", call.name(), names(bits)),
        When::Without(_, bits) => format!("`{}` (without {})", call.name(), names(bits)),
        When::OwnPid(_) => format!("`{}` (to itself)", call.name()),
    };
    let rows = GROUPS.iter().map(|group| {
        let network = if group.network { "with OTLP or a cluster: " } else { "" };
        vec![format!("{network}{}", group.why), group.calls.iter().map(one).collect::<Vec<_>>().join(", ")]
    });
    table(&["what for", "calls"], rows)
}

fn places() -> String {
    let may = |may| if may == May::Read { "read, list" } else { "connect" };
    let rows = PLACES.iter().map(|place| vec![place.what.into(), may(place.may).into(), place.why.into()]);
    table(&["place", "may", "what for"], rows)
}

fn since() -> String {
    let rows = SINCE
        .iter()
        .map(|(interface, release, what)| vec![format!("Linux {release}"), interface.to_string(), (*what).to_owned()]);
    table(&["before", "Landlock's interface", "not restricted"], rows)
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_tables_of_privileges_are_those_of_the_code() {
    let path = "ARCHITECTURE.md";
    let old = read(path);
    let mut new = old.clone();
    for (name, content) in
        [("capabilities", capabilities()), ("calls", calls()), ("places", places()), ("since", since())]
    {
        let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->\n"));
        let (before, rest) = new.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        new = [before, &begin, &content, &end, after].concat();
    }
    if std::env::var_os("PODSCOPE_WRITE").is_some() {
        fs::write(at(path), &new).unwrap();
    } else {
        assert_eq!(old, new, "PODSCOPE_WRITE=1 cargo test -p podscope-agent --test deploy writes the tables anew");
    }
}
