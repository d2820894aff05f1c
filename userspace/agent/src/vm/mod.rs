//! Virtual machines: which pods run one, and what each of their processes is there for.
//!
//! A VM is known by the labels of its launcher pod. Without a container runtime it is known by the arguments of its
//! emulator, from the collection on that first sees that.

mod culprits;
mod emulator;
mod role;
mod run;
mod sums;
mod threads;

use std::path::Path;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt, HashSet};
use podscope_abi::{Blame, EXE_OTHER, RecordKind, TaskRecord};

use crate::accounting::{Accounting, Container, ContainerKey, ProcessKey};
use crate::attribution::{Attribution, Identity};
use crate::publish::Names;
use crate::runtime::{PodMeta, Vm};

pub use culprits::{Blamed, Culprits, Series};
pub use emulator::Emulator;
pub use role::Role;
pub use run::Run;
pub use sums::Sums;
pub use threads::{Class, Threads};

/// Command lines read per collection at most: each one is a file of /proc.
const READ_AT_ONCE: usize = 64;

/// A virtual machine with its sums.
#[derive(Debug)]
pub struct Machine {
    /// Who it is.
    pub vm: Vm,
    /// Its launcher pod, where the runtime told of it.
    pub pod: Option<Arc<PodMeta>>,
    /// The guest, as the emulator was started.
    pub emulator: Option<Emulator>,
    /// What its processes have used.
    pub sums: Sums,
    /// What the emulator's threads have used.
    pub threads: Threads,
    /// Who ran while its virtual CPUs waited.
    pub culprits: Culprits,
    /// The last collection that saw it.
    seen: u64,
}

/// All virtual machines of the node.
#[derive(Debug, Default)]
pub struct Machines {
    /// By pod uid; without a pod, by container id.
    machines: HashMap<Arc<str>, Machine>,
    /// What each executable of a VM's containers is there for. Once said it stays: no total changes its role.
    roles: HashMap<(ContainerKey, u64), Role>,
    /// Arguments of living processes that may be emulators.
    emulators: HashMap<ProcessKey, Option<Emulator>>,
    /// Machines by the thread-group id of their emulators, as the last collection found them.
    by_tgid: HashMap<u32, (ProcessKey, Arc<str>)>,
    /// Machines by their containers.
    by_container: HashMap<ContainerKey, Arc<str>>,
    /// Virtual CPUs that the running collection has seen, by thread id.
    vcpus: HashMap<u32, VcpuThread>,
    /// Blame as the kernel had it at the last collection.
    blames: HashMap<Blame, u64>,
}

/// The thread of a virtual CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VcpuThread {
    /// Start of its process, ns since boot.
    pub leader_start: u64,
    /// Its cgroup.
    pub cgroup: u64,
    /// Machine and number.
    pub vcpu: VcpuKey,
}

/// A virtual CPU: pod uid of its machine, and number.
pub type VcpuKey = (Arc<str>, u32);

impl Machines {
    /// Takes a record of the task iterator, in the collection `pass`.
    pub fn take_task(&mut self, record: &TaskRecord, pass: u64) {
        if self.by_tgid.is_empty() || record.kind != RecordKind::TASK {
            return;
        }
        if let Some(owner) = threads::owner_of_vhost(record)
            && let Some((_, machine)) = self.by_tgid.get(&owner)
            && let Some(machine) = self.machines.get_mut(machine)
        {
            machine.threads.take(record, pass);
        }
        if let Some((process, machine)) = self.by_tgid.get(&record.tgid)
            && process.start == record.leader_start
            && let Some(sums) = self.machines.get_mut(machine)
            && let Class::Vcpu(number) = sums.threads.take(record, pass)
            // The kernel side looks for no others.
            && record.comm.starts_with(b"CPU ")
        {
            let vcpu = (Arc::clone(machine), number);
            let thread = VcpuThread { leader_start: record.leader_start, cgroup: record.cgroup, vcpu };
            self.vcpus.insert(record.pid, thread);
        }
    }

    /// Begins a collection.
    pub fn begin(&mut self) {
        self.vcpus.clear();
    }

    /// The virtual CPUs that the running collection has seen, by thread id.
    pub fn vcpus(&self) -> &HashMap<u32, VcpuThread> {
        &self.vcpus
    }

    /// Takes for how long virtual CPUs have waited while somebody else ran, as the kernel has it.
    ///
    /// `owner`: whose a cgroup is; while that has no name yet, the blame waits.
    pub fn take_blame<'a>(&mut self, blame: &Blame, waited_ns: u64, owner: impl Fn(u64) -> Option<&'a ContainerKey>) {
        let machine = owner(blame.victim).and_then(|victim| self.by_container.get(victim));
        let Some(machine) = machine.and_then(|key| self.machines.get_mut(key)) else { return };
        let culprit = owner(blame.culprit);
        if culprit.is_none() && blame.culprit != 0 {
            return;
        }
        let growth = waited_ns.saturating_sub(self.blames.insert(*blame, waited_ns).unwrap_or(0));
        match culprit {
            Some(culprit) => machine.culprits.take(culprit, growth),
            None => machine.culprits.take_unknown(growth),
        }
    }

    /// Forgets cgroups that are gone, and returns the kernel's entries that may go.
    pub fn forget(&mut self, retired: &HashSet<u64>) -> Vec<Blame> {
        let is_over = |blame: &Blame| retired.contains(&blame.victim) || retired.contains(&blame.culprit);
        let over: Vec<Blame> = self.blames.keys().filter(|blame| is_over(blame)).copied().collect();
        over.iter().for_each(|blame| {
            self.blames.remove(blame);
        });
        over
    }

    /// Ends a collection, once all blame is taken.
    pub fn settle(&mut self, accounting: &Accounting) {
        let before = accounting.previous.unwrap_or(accounting.now).unix_ns;
        self.machines.values_mut().for_each(|machine| machine.culprits.settle(accounting.now.unix_ns, before));
    }

    /// Takes a collection. `proc`: where procfs is mounted.
    pub fn update(&mut self, accounting: &Accounting, attribution: &Attribution, names: &Names, proc: &Path) {
        let launchers = launchers(accounting, attribution, names);
        if launchers.is_empty() && self.machines.is_empty() {
            return;
        }
        self.read_emulators(accounting, names, &launchers, proc);
        for (key, launcher) in &launchers {
            self.take_container(key, launcher, accounting, names);
        }
        self.by_container = launchers.iter().map(|(key, launcher)| (key.clone(), Arc::clone(&launcher.key))).collect();
        self.by_tgid.clear();
        for (key, container) in processes_of(accounting, &launchers) {
            let (Some(process), launcher) = (accounting.processes.get(&key), &launchers[container]) else { continue };
            let role = self.roles.get(&(container.clone(), process.exe)).copied().unwrap_or(Role::Other);
            if role == Role::Emulator {
                self.by_tgid.insert(key.tgid, (key, Arc::clone(&launcher.key)));
            }
            if let Some(machine) = self.machines.get_mut(&launcher.key) {
                machine.sums.count(role, &process.memory);
            }
        }
        self.machines.retain(|_, machine| machine.seen == accounting.pass);
        self.machines
            .values_mut()
            .for_each(|machine| machine.sums.retain(|container| launchers.contains_key(container)));
        self.roles.retain(|(container, _), _| launchers.contains_key(container));
    }

    /// Counts a process of a container that the OOM killer ended, and says whose it was and what it was there for.
    pub fn count_oom_kill(&mut self, container: &ContainerKey, exe: u64) -> Option<(&Vm, Role)> {
        let machine = self.machines.get_mut(self.by_container.get(container)?)?;
        let role = self.roles.get(&(container.clone(), exe)).copied().unwrap_or(Role::Other);
        machine.sums.count_oom_kill(role);
        Some((&machine.vm, role))
    }

    /// The virtual machines, by pod uid.
    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Machine)> {
        self.machines.iter()
    }

    /// The virtual machine of a pod.
    pub fn get(&self, pod: &Arc<str>) -> Option<&Machine> {
        self.machines.get(pod)
    }

    /// What an executable of a VM's container is there for.
    pub fn role(&self, container: &ContainerKey, exe: u64) -> Option<Role> {
        if exe == EXE_OTHER { None } else { self.roles.get(&(container.clone(), exe)).copied() }
    }

    /// A container is published under another name from now on, at zero: so is its VM.
    pub fn restart(&mut self, container: &ContainerKey) {
        self.machines.retain(|_, machine| !machine.sums.has(container));
        self.machines.values_mut().for_each(|machine| machine.culprits.restart(container));
    }

    fn take_container(&mut self, key: &ContainerKey, launcher: &Launcher, accounting: &Accounting, names: &Names) {
        let Some(container) = accounting.containers.get(key) else { return };
        self.give_roles(key, container, accounting, names);
        let guest = self.guest_of(accounting, key, None);
        let known = self.machines.get(&launcher.key).map(|machine| machine.vm.clone());
        let Some(vm) = launcher.vm.clone().or(known).or_else(|| vm_of(&launcher.key, guest.as_ref())) else { return };
        let machine = self.machines.entry(Arc::clone(&launcher.key)).or_insert_with(|| Machine {
            vm,
            pod: launcher.pod.clone(),
            emulator: None,
            sums: Sums::new(container.start_ns),
            threads: Threads::default(),
            culprits: Culprits::default(),
            seen: 0,
        });
        if machine.seen != accounting.pass {
            machine.seen = accounting.pass;
            machine.sums.begin();
        }
        if guest.is_some() {
            machine.emulator = guest;
        }
        for (&exe, executable) in &container.executables {
            if let Some(role) = self.roles.get(&(key.clone(), exe)) {
                machine.sums.credit(key, exe, *role, &executable.sums);
            }
        }
        machine.sums.settle();
    }

    /// Says what each executable of a container is there for, once its name is known.
    fn give_roles(&mut self, key: &ContainerKey, container: &Container, accounting: &Accounting, names: &Names) {
        for &exe in container.executables.keys() {
            if self.roles.contains_key(&(key.clone(), exe)) {
                continue;
            }
            let by_arguments = || match self.guest_of(accounting, key, Some(exe)) {
                Some(_) => Role::Emulator,
                None => Role::Other,
            };
            let role = match names.get(&exe) {
                _ if exe == EXE_OTHER => Role::Other,
                Some(name) => Role::of_program(name).unwrap_or_else(by_arguments),
                None => continue,
            };
            self.roles.insert((key.clone(), exe), role);
        }
    }

    /// The guest of a container, by the arguments of its emulator; only of that executable if one is given.
    fn guest_of(&self, accounting: &Accounting, container: &ContainerKey, exe: Option<u64>) -> Option<Emulator> {
        let fits = |key: &ProcessKey| {
            accounting.processes.get(key).is_some_and(|process| {
                accounting.owner(process.cgroup) == Some(container) && exe.is_none_or(|exe| process.exe == exe)
            })
        };
        self.emulators.iter().find_map(|(key, emulator)| emulator.clone().filter(|_| fits(key)))
    }

    /// Reads the arguments of processes that may be emulators: by their program's name, or because that says nothing.
    fn read_emulators(
        &mut self,
        accounting: &Accounting,
        names: &Names,
        launchers: &HashMap<ContainerKey, Launcher>,
        proc: &Path,
    ) {
        let mut known = std::mem::take(&mut self.emulators);
        let mut room = READ_AT_ONCE;
        for (key, _) in processes_of(accounting, launchers) {
            let Some(process) = accounting.processes.get(&key) else { continue };
            let Some(name) = names.get(&process.exe) else { continue };
            if Role::of_program(name).is_some_and(|role| role != Role::Emulator) {
                continue;
            }
            let emulator = match known.remove(&key) {
                Some(emulator) => emulator,
                None if room == 0 => continue,
                None => {
                    room -= 1;
                    Emulator::read(proc, key.tgid)
                }
            };
            self.emulators.insert(key, emulator);
        }
    }
}

/// A container in which a VM runs, or may run.
#[derive(Debug)]
struct Launcher {
    /// Of [`Machines::machines`].
    key: Arc<str>,
    /// By the pod's labels.
    vm: Option<Vm>,
    pod: Option<Arc<PodMeta>>,
}

/// The containers of launcher pods, and without a runtime those with programs that only these have.
fn launchers(accounting: &Accounting, attribution: &Attribution, names: &Names) -> HashMap<ContainerKey, Launcher> {
    let mut found = HashMap::new();
    for (key, container) in &accounting.containers {
        let launcher = match attribution.identity(key) {
            Identity::Named(meta) => of_pod(&meta.pod),
            Identity::Pod(pod) => of_pod(pod),
            Identity::ByPath { container: id, pod } => {
                let tells =
                    |exe| names.get(exe).is_some_and(|name| Role::of_program(name).is_some_and(Role::tells_of_vm));
                let key = pod.as_ref().or(id.as_ref()).filter(|_| container.executables.keys().any(tells));
                key.map(|key| Launcher { key: Arc::clone(key), vm: None, pod: None })
            }
            Identity::Host | Identity::Waiting => None,
        };
        if let Some(launcher) = launcher {
            found.insert(key.clone(), launcher);
        }
    }
    found
}

fn of_pod(pod: &Arc<PodMeta>) -> Option<Launcher> {
    let vm = pod.vm()?;
    Some(Launcher { key: Arc::clone(&pod.uid), vm: Some(vm), pod: Some(Arc::clone(pod)) })
}

/// The VM that an emulator's arguments name.
fn vm_of(key: &Arc<str>, guest: Option<&Emulator>) -> Option<Vm> {
    let guest = guest?;
    let (namespace, name) = guest.vm().unwrap_or(("", &guest.guest));
    let uid = guest.uuid.as_deref().map_or_else(|| Arc::clone(key), Arc::from);
    Some(Vm { namespace: namespace.into(), name: name.into(), uid: Some(uid) })
}

/// The living processes of some containers.
fn processes_of<'a>(
    accounting: &'a Accounting,
    launchers: &'a HashMap<ContainerKey, Launcher>,
) -> impl Iterator<Item = (ProcessKey, &'a ContainerKey)> {
    accounting.processes.iter().filter(|(_, process)| process.threads > 0).filter_map(|(key, process)| {
        let (container, _) = launchers.get_key_value(accounting.owner(process.cgroup)?)?;
        Some((*key, container))
    })
}
