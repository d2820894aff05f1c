//! From an answer and a way of looking at it to rows: pure, and the same for the live view and the printed table.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use clap::ValueEnum;

use crate::model::{Container, Process, Top, Totals, Vcpu};

/// What the tree is sorted by, largest first, on each of its levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// CPU time.
    #[default]
    Cpu,
    /// Run-queue wait.
    Wait,
    /// Resident memory.
    Memory,
    /// Page faults.
    Faults,
}

impl Sort {
    fn compare(self, a: &Totals, b: &Totals) -> Ordering {
        self.key(b).total_cmp(&self.key(a))
    }

    fn key(self, totals: &Totals) -> f64 {
        match self {
            Self::Cpu => totals.cpu_cores,
            Self::Wait => totals.wait_cores,
            Self::Memory => totals.memory_bytes as f64,
            Self::Faults => totals.faults_per_s,
        }
    }
}

/// What a row stands for, the same from one answer to the next.
pub type Id = String;

/// Which rows show what is under them: all or none, but for the exceptions.
#[derive(Clone, Debug)]
pub struct Expansion {
    all: bool,
    except: HashSet<Id>,
}

impl Expansion {
    /// Everything open, or everything closed.
    pub fn all(open: bool) -> Self {
        Self { all: open, except: HashSet::new() }
    }

    /// Whether a row is open.
    pub fn is_open(&self, id: &str) -> bool {
        self.all != self.except.contains(id)
    }

    /// Opens or closes a row.
    pub fn set(&mut self, id: &str, open: bool) {
        if open == self.all {
            self.except.remove(id);
        } else {
            self.except.insert(id.to_owned());
        }
    }

    /// Forgets the rows that are gone.
    pub fn retain(&mut self, top: &Top) {
        if !self.except.is_empty() {
            let living: HashSet<Id> =
                rows(top, Sort::Cpu, "", &Self::all(true)).into_iter().map(|row| row.id).collect();
            self.except.retain(|id| living.contains(id));
        }
    }
}

/// One line of the tree.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// Who it is; no two rows have the same.
    pub id: Id,
    /// 0 stands at the margin.
    pub depth: u8,
    /// What it shows.
    pub node: Node<'a>,
    /// What it uses.
    pub totals: Totals,
    /// Whether what is under it is shown; `None` if nothing is.
    pub open: Option<bool>,
}

/// What a row shows.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    /// A pod, told by one of its containers.
    Pod(&'a Container),
    /// A container.
    Container(&'a Container),
    /// A process.
    Process(&'a Process),
    /// A virtual CPU: a thread of the emulator above it.
    Vcpu(&'a Vcpu),
    /// The processes of a container that are not listed.
    Other,
}

/// The rows of an answer: pods, under each its containers, under each its processes.
///
/// Containers without a pod stand at the margin. `filter` is looked for in namespace, pod, container, executable and VM,
/// without regard to case. A row that has it is shown with all that is under it; the rows above one are shown, and are
/// open, to lead there.
pub fn rows<'a>(top: &'a Top, sort: Sort, filter: &str, expansion: &Expansion) -> Vec<Row<'a>> {
    let mut builder =
        Builder { sort, filter: filter.to_lowercase(), expansion, seen: HashMap::new(), rows: Vec::new() };
    let (pods, bare) = pods(top);
    let mut roots: Vec<Root> = pods.into_iter().map(|(key, containers)| Root::pod(key, containers)).collect();
    roots.extend(bare.into_iter().map(Root::bare));
    roots.sort_by(|a, b| sort.compare(&a.totals, &b.totals).then_with(|| a.name().cmp(&b.name())));
    for root in roots {
        builder.root(root);
    }
    builder.rows
}

/// How many pods an answer tells of.
pub fn pod_count(top: &Top) -> usize {
    pods(top).0.len()
}

/// The containers of each pod, and those without one.
fn pods(top: &Top) -> (HashMap<Id, Vec<&Container>>, Vec<&Container>) {
    let mut pods: HashMap<Id, Vec<&Container>> = HashMap::new();
    let mut bare = Vec::new();
    for container in &top.containers {
        match (&container.pod_uid, container.pod_name()) {
            (Some(uid), _) => pods.entry(uid.to_string()).or_default().push(container),
            (None, Some(name)) => pods.entry(name).or_default().push(container),
            (None, None) => bare.push(container),
        }
    }
    (pods, bare)
}

/// What stands at the margin: a pod (with its key), or a container without one.
struct Root<'a> {
    pod: Option<Id>,
    containers: Vec<&'a Container>,
    totals: Totals,
}

impl<'a> Root<'a> {
    fn pod(key: Id, containers: Vec<&'a Container>) -> Self {
        let mut containers_left = containers.iter();
        let mut totals = containers_left.next().map(|c| c.totals).unwrap_or_default();
        containers_left.for_each(|c| totals += c.totals);
        Self { pod: Some(key), containers, totals }
    }

    fn bare(container: &'a Container) -> Self {
        Self { pod: None, containers: vec![container], totals: container.totals }
    }

    fn name(&self) -> (Option<String>, Option<&Id>) {
        (self.containers.first().map(|c| c.pod_name().unwrap_or_else(|| c.name().to_owned())), self.pod.as_ref())
    }
}

struct Builder<'a, 'v> {
    sort: Sort,
    filter: String,
    expansion: &'v Expansion,
    seen: HashMap<Id, u32>,
    rows: Vec<Row<'a>>,
}

impl<'a> Builder<'a, '_> {
    fn root(&mut self, root: Root<'a>) {
        let Some(key) = root.pod else {
            return root.containers.iter().for_each(|container| self.container(container, "", 0, false));
        };
        // The VM may be known of one of its containers only.
        let Some(&teller) = root.containers.iter().find(|c| c.vm.is_some()).or(root.containers.first()) else { return };
        let whole = self.has_filter(teller.pod_name().as_deref()) || self.has_filter(teller.vm.as_deref());
        if !whole && !root.containers.iter().any(|c| self.container_has(c) || self.leads(c)) {
            return;
        }
        let id = self.push(key, 0, Node::Pod(teller), root.totals, !whole);
        if let Some(id) = id {
            let mut containers = root.containers;
            containers.sort_by(|a, b| self.sort.compare(&a.totals, &b.totals).then_with(|| a.name().cmp(b.name())));
            containers.into_iter().for_each(|container| self.container(container, &id, 1, whole));
        }
    }

    fn container(&mut self, container: &'a Container, pod: &str, depth: u8, whole: bool) {
        let whole = whole || self.container_has(container);
        if !whole && !self.leads(container) {
            return;
        }
        let key = format!("{pod}\0{}", container.container_id.as_deref().unwrap_or(&container.container));
        let is_leaf = container.processes.is_empty() && container.other.is_none();
        let id = self.push(key, depth, Node::Container(container), container.totals, !whole);
        if is_leaf {
            self.rows.iter_mut().last().into_iter().for_each(|row| row.open = None);
            return;
        }
        let Some(id) = id else { return };
        let has = |process: &&Process| whole || self.has_filter(Some(process.name()));
        let mut processes: Vec<&Process> = container.processes.iter().filter(has).collect();
        processes.sort_by(|a, b| self.sort.compare(&a.totals, &b.totals).then(a.pid.cmp(&b.pid)));
        for process in processes {
            self.leaf(format!("{id}\0{}", process.pid), depth + 1, Node::Process(process), process.totals);
            if process.role.as_deref() == Some("emulator") {
                for vcpu in &container.vcpus {
                    let key = format!("{id}\0{}\0{}", process.pid, vcpu.id);
                    self.leaf(key, depth + 2, Node::Vcpu(vcpu), vcpu.totals);
                }
            }
        }
        if let Some(other) = container.other.filter(|_| whole) {
            self.leaf(format!("{id}\0other"), depth + 1, Node::Other, other);
        }
    }

    /// Adds a row that has others under it and gives its id if they are to be shown.
    fn push(&mut self, key: Id, depth: u8, node: Node<'a>, totals: Totals, forced_open: bool) -> Option<Id> {
        let id = self.unique(key);
        let open = forced_open || self.expansion.is_open(&id);
        self.rows.push(Row { id: id.clone(), depth, node, totals, open: Some(open) });
        open.then_some(id)
    }

    fn leaf(&mut self, key: Id, depth: u8, node: Node<'a>, totals: Totals) {
        let id = self.unique(key);
        self.rows.push(Row { id, depth, node, totals, open: None });
    }

    /// An answer that names two things alike must not make the selection stick at the first.
    fn unique(&mut self, key: Id) -> Id {
        let seen = self.seen.entry(key.clone()).or_default();
        *seen += 1;
        if *seen == 1 { key } else { format!("{key}\0\0{seen}") }
    }

    fn has_filter(&self, text: Option<&str>) -> bool {
        text.is_some_and(|text| self.filter.is_empty() || text.to_lowercase().contains(&self.filter))
    }

    fn container_has(&self, container: &Container) -> bool {
        self.has_filter(Some(container.name())) || self.has_filter(container.vm.as_deref())
    }

    fn leads(&self, container: &Container) -> bool {
        container.processes.iter().any(|process| self.has_filter(Some(process.name())))
    }
}

#[cfg(test)]
mod tests;
