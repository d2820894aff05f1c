//! The kubelet's `/metrics/resource`: what metrics-server itself reads, as Prometheus text.

use std::collections::HashMap;

use crate::{Client, Error};

/// A counter of CPU time and a size of memory, and when each was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// CPU seconds so far, and when, ms since the Unix epoch.
    pub cpu: Option<(f64, i64)>,
    /// Bytes of working set, and when, ms since the Unix epoch.
    pub working_set: Option<(u64, i64)>,
}

/// Whose figures.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// The node's.
    Node,
    /// A pod's.
    Pod {
        /// Namespace.
        namespace: String,
        /// Name.
        pod: String,
    },
    /// A container's.
    Container {
        /// Namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// Name.
        container: String,
    },
}

/// All that a kubelet says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// By whom.
    pub readings: HashMap<Whose, Reading>,
    /// Whether the kubelet says that it could not read everything.
    pub incomplete: bool,
    /// Lines that are no samples.
    pub malformed: u64,
}

/// Asks a kubelet.
///
/// # Errors
/// Whatever is in [`Error`]; [`Error::Malformed`] for a page without any figure.
pub async fn resource(client: &Client) -> Result<Resource, Error> {
    const PATH: &str = "/metrics/resource";
    let read = parse(&client.text(PATH).await?);
    if read.readings.is_empty() {
        let call = format!("GET {}{PATH}", client.url());
        return Err(Error::Malformed { call, reason: "there is no figure in the answer".to_owned() });
    }
    Ok(read)
}

/// Reads Prometheus text; samples of other metrics are passed over.
pub fn parse(text: &str) -> Resource {
    let mut all = Resource::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match sample(line) {
            Some(sample) => all.take(&sample),
            None => all.malformed += 1,
        }
    }
    all
}

/// One line.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: f64,
    /// ms since the Unix epoch; 0 where there is none.
    at: i64,
}

impl Resource {
    fn take(&mut self, sample: &Sample<'_>) {
        let label = |key: &str| sample.labels.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
        let pod = || Some(Whose::Pod { namespace: label("namespace")?, pod: label("pod")? });
        let container = || {
            let (namespace, pod) = (label("namespace")?, label("pod")?);
            Some(Whose::Container { namespace, pod, container: label("container")? })
        };
        let (whose, is_cpu) = match sample.name {
            "node_cpu_usage_seconds_total" => (Some(Whose::Node), true),
            "node_memory_working_set_bytes" => (Some(Whose::Node), false),
            "pod_cpu_usage_seconds_total" => (pod(), true),
            "pod_memory_working_set_bytes" => (pod(), false),
            "container_cpu_usage_seconds_total" => (container(), true),
            "container_memory_working_set_bytes" => (container(), false),
            "resource_scrape_error" | "scrape_error" => {
                self.incomplete |= sample.value != 0.0;
                return;
            }
            _ => return,
        };
        let Some(whose) = whose.filter(|_| sample.value.is_finite() && sample.value >= 0.0) else {
            self.malformed += 1;
            return;
        };
        let reading = self.readings.entry(whose).or_default();
        if is_cpu {
            reading.cpu = Some((sample.value, sample.at));
        } else {
            reading.working_set = Some((sample.value as u64, sample.at));
        }
    }
}

/// `name{label="value",…} value [timestamp]`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let value = words.next()?.parse().ok()?;
    let at = words.next().map_or(Some(0), |at| at.parse().ok())?;
    words.next().is_none().then_some(Sample { name, labels, value, at })
}

/// The labels up to the closing brace, and what stands behind it.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((found, behind));
        }
        let (name, behind) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = behind.char_indices();
        rest = loop {
            match characters.next()? {
                (at, '"') => break &behind[at + 1..],
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        found.push((name.trim(), value));
    }
}

#[cfg(test)]
mod tests;
