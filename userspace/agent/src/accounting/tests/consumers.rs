//! What scrapers of `/metrics` make of it, at the collection interval and slower, over the real page.
//!
//! The rule: a series that ended stays on the page for the lingering time, so a scraper that is not slower than that
//! sees the last value of each. It loses
//!
//! - where it does not know when series begin: what a series had at its first scrape;
//! - where labels come back (a pid that is used again, a process that is chosen again): what the earlier series grew
//!   by after its last scrape, and, without knowing beginnings, up to what was scraped of it;
//! - where it is slower than the lingering time: what an ended series grew by after its last scrape.
//!
//! It never counts more than was published.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use podscope_catalog::prometheus::{family_name, label_name};
use podscope_catalog::{Entity, METRICS, id};
use proptest::prelude::*;

use super::super::points;
use super::super::{Accounting, ContainerKey, Outcome, Process, ProcessKey};
use super::machine::{Deaths, INTERVAL, Machine, Step, steps};
use crate::detail::Detail;
use crate::export::prometheus::{Families, Format, render};
use crate::publish::Publisher;
use crate::snapshot::{AttributeValue, Attributes, Resource, ResourceAttribute, Snapshot, Value};

/// Collections for which an ended series stays on the page: two minutes.
const LINGER: u64 = 12;

/// A series as it is published, in the order of their beginnings.
#[derive(Clone, Copy, Debug, Default)]
struct Series {
    start_ns: u64,
    value: u64,
    /// By scraper.
    scraped: [u64; SCRAPERS.len()],
}

/// Collections between two scrapes.
const SCRAPERS: [u64; 4] = [1, 3, 10, 30];

/// A scraper: what it saw last and what it counted, by the text between the braces.
#[derive(Default)]
struct Scraper {
    last: HashMap<String, (u64, u64)>,
    first: HashMap<String, u64>,
    /// By increments and falls alone.
    plain: HashMap<String, u64>,
    /// With the beginnings known.
    informed: HashMap<String, u64>,
}

pub(super) struct Pages {
    publisher: Publisher,
    scrapers: [Scraper; SCRAPERS.len()],
    series: BTreeMap<String, Vec<Series>>,
    collections: u64,
}

impl Pages {
    pub(super) fn new() -> Self {
        Self {
            publisher: Publisher::new("node", 4096, LINGER * INTERVAL, Detail::default()),
            scrapers: Default::default(),
            series: BTreeMap::new(),
            collections: 0,
        }
    }

    /// Takes a collection, and has those scrape it whose turn it is.
    pub(super) fn take(&mut self, accounting: &Accounting, outcome: &Outcome) {
        let living = accounting.processes.iter().filter_map(|(key, process)| resource(key, process, false));
        let ended = outcome.ended.iter().filter_map(|ended| resource(&ended.key, &ended.process, true));
        let resources: Vec<Resource> = living.chain(ended).collect();
        for resource in &resources {
            self.note(resource);
        }
        let lingering = self.publisher.lingering(&resources, &accounting.now);
        let snapshot = Snapshot { time_ns: accounting.now.unix_ns, resources, lingering, ..Snapshot::default() };
        let mut page = Vec::new();
        render(&snapshot, Format::Text004, Families::WithPoints, &mut page);
        let page = String::from_utf8(page).unwrap();
        self.collections += 1;
        for (at, every) in SCRAPERS.iter().enumerate() {
            if self.collections.is_multiple_of(*every) {
                self.scrape(at, &page, &snapshot);
            }
        }
    }

    fn note(&mut self, resource: &Resource) {
        for (kind, value) in switches(resource) {
            let all = self.series.entry(key(resource, kind)).or_default();
            match all.iter_mut().find(|series| series.start_ns == resource.start_ns) {
                Some(series) => series.value = value,
                None => all.push(Series { start_ns: resource.start_ns, value, ..Series::default() }),
            }
            all.sort_by_key(|series| series.start_ns);
        }
    }

    /// The living series stands on the page, or else the one that began last.
    fn standing(snapshot: &Snapshot) -> HashMap<String, u64> {
        let mut standing: HashMap<String, (bool, u64)> = HashMap::new();
        let lingering = snapshot.lingering.iter().map(AsRef::as_ref);
        for resource in snapshot.resources.iter().chain(lingering) {
            for (kind, _) in switches(resource) {
                let best = standing.entry(key(resource, kind)).or_default();
                *best = (*best).max((!resource.ended, resource.start_ns));
            }
        }
        standing.into_iter().map(|(key, (_, start_ns))| (key, start_ns)).collect()
    }

    fn scrape(&mut self, at: usize, page: &str, snapshot: &Snapshot) {
        let standing = Self::standing(snapshot);
        let name = family_name(&METRICS[usize::from(id::PROCESS_CONTEXT_SWITCHES.0)]);
        let scraper = &mut self.scrapers[at];
        for line in page.lines().filter_map(|line| line.strip_prefix(&format!("{name}{{"))) {
            let (key, value) = line.split_once("} ").unwrap();
            let value: u64 = value.parse().unwrap();
            let all = self.series.get_mut(key).unwrap_or_else(|| panic!("{key} was not published"));
            let series = all.iter_mut().find(|series| series.start_ns == standing[key]).unwrap();
            assert_eq!(series.value, value, "{key}");
            series.scraped[at] = value;
            let before = scraper.last.insert(key.to_owned(), (series.start_ns, value));
            let (plain, informed) = match before {
                None => (0, value),
                Some((start_ns, before)) => {
                    let growth = value.checked_sub(before).unwrap_or(value);
                    (growth, if start_ns == series.start_ns { value - before } else { value })
                }
            };
            scraper.first.entry(key.to_owned()).or_insert(value);
            *scraper.plain.entry(key.to_owned()).or_default() += plain;
            *scraper.informed.entry(key.to_owned()).or_default() += informed;
        }
    }

    fn check(&self) {
        for (key, all) in &self.series {
            let truth: u64 = all.iter().map(|series| series.value).sum();
            for (at, every) in SCRAPERS.iter().enumerate() {
                let scraper = &self.scrapers[at];
                let count = |by: &HashMap<String, u64>| by.get(key).copied().unwrap_or_default();
                let last = all.len() - 1;
                let unseen = |series: &Series| series.value - series.scraped[at];
                let earlier = || all[..last].iter();
                let mut lost: u64 = earlier().map(unseen).sum();
                if *every > LINGER {
                    lost += unseen(&all[last]);
                }
                let informed = count(&scraper.informed);
                assert!(
                    informed <= truth && truth - informed <= lost,
                    "{key} at {every}: {informed}, {truth}: {all:?}"
                );
                lost += count(&scraper.first) + earlier().map(|series| series.scraped[at]).sum::<u64>();
                let plain = count(&scraper.plain);
                assert!(plain <= truth && truth - plain <= lost, "{key} at {every}: {plain}, {truth}: {all:?}");
            }
        }
    }
}

fn container_id(key: &ContainerKey) -> &str {
    match key {
        ContainerKey::Host => "host",
        ContainerKey::Container(id) | ContainerKey::Pod(id) => id,
    }
}

fn resource(key: &ProcessKey, process: &Process, ended: bool) -> Option<Resource> {
    let series = process.series.as_ref()?;
    let attributes = Attributes::new(vec![
        ResourceAttribute::label("container.id", container_id(&series.container)),
        ResourceAttribute::label("process.executable.name", format!("e{}", series.exe)),
        ResourceAttribute::label_int("process.pid", key.tgid.into()),
    ]);
    Some(Resource {
        entity: Entity::Process,
        attributes: Arc::new(attributes),
        start_ns: series.start_ns,
        kernel_start_ns: series.start_ns,
        ended,
        points: points::process(process, 4096, 0),
    })
}

fn labels(resource: &Resource) -> String {
    let text = |key| resource.attributes.text(key).unwrap();
    let pid = match &resource.attributes.list[2].value {
        AttributeValue::Int(pid) => *pid,
        AttributeValue::Text(_) => unreachable!(),
    };
    format!(
        "container_id=\"{}\",process_executable_name=\"{}\",process_pid=\"{pid}\"",
        text("container.id"),
        text("process.executable.name")
    )
}

/// The text between the braces.
fn key(resource: &Resource, kind: &str) -> String {
    let (name, _) = METRICS[usize::from(id::PROCESS_CONTEXT_SWITCHES.0)].combination(0).next().unwrap();
    format!("{},{}=\"{kind}\"", labels(resource), label_name(name))
}

fn switches(resource: &Resource) -> impl Iterator<Item = (&'static str, u64)> {
    let points = resource.points.iter().filter(|point| point.metric == id::PROCESS_CONTEXT_SWITCHES);
    points.map(|point| match (&point.value, point.combination) {
        (Value::Int(value), 0) => ("voluntary", *value as u64),
        (Value::Int(value), _) => ("involuntary", *value as u64),
        _ => unreachable!(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn scrapers_lose_no_more_than_the_rule_says(history in steps(), limit in 1usize..4) {
        let mut machine = Machine::new(limit, Deaths::BetweenCollections);
        machine.pages = Some(Pages::new());
        // With another name come other labels: those of before are gone at once.
        history.iter().filter(|step| !matches!(step, Step::Rename(_))).for_each(|step| machine.step(step));
        machine.finish();
        // Until each scraper has been there once more.
        (0..30).for_each(|_| machine.collect(&Default::default()));
        machine.pages.unwrap().check();
    }
}
