//! Small type information, made by hand.

/// Type information that grows type by type.
#[derive(Default)]
pub(crate) struct Types {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Types so far; of a module those of the kernel first.
    pub(crate) count: u32,
    /// Of a module: names that the kernel has, in their order, each with its end, after an empty one.
    pub(crate) known: &'static str,
}

/// A member of a struct: name, type and bit offset.
pub(crate) type Member<'a> = (&'a str, u32, u32);

pub(crate) const STRUCT: u32 = 4;
pub(crate) const ENUM: u32 = 6;
pub(crate) const TYPEDEF: u32 = 8;

const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const PROTOTYPE: u32 = 13;

impl Types {
    fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() && self.known.is_empty() {
            self.strings.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        if let Some(at) = self.known.find(&format!("\0{name}\0")) {
            return at as u32 + 1;
        }
        let at = (self.known.len() + self.strings.len()) as u32;
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    /// Adds a type with `length` entries in `body`, and returns its id.
    pub(crate) fn add(&mut self, name: &str, kind: u32, length: u32, size: u32, body: &[u32]) -> u32 {
        let name = self.name(name);
        let words = [name, kind << 24 | length, size].into_iter().chain(body.iter().copied());
        self.types.extend(words.flat_map(u32::to_le_bytes));
        self.count += 1;
        self.count
    }

    /// Adds a struct.
    pub(crate) fn structure(&mut self, name: &str, members: &[Member<'_>]) -> u32 {
        let body: Vec<u32> = members.iter().flat_map(|(name, kind, at)| [self.name(name), *kind, *at]).collect();
        self.add(name, STRUCT, members.len() as u32, 64, &body)
    }

    /// The file.
    pub(crate) fn finish(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let words = [24, 0, types, types, strings].map(u32::to_le_bytes);
        [&[0x9f, 0xeb, 1, 0], words.as_flattened(), &self.types, &self.strings].concat()
    }
}

/// A kernel in miniature, with each kind of type that is looked at.
pub(crate) fn small_kernel() -> Vec<u8> {
    let mut types = Types::default();
    let int = types.add("int", INT, 0, 4, &[32]);
    let pointer = types.add("", POINTER, 0, 0, &[]);
    let entity = types.structure("sched_entity", &[("sum_exec_runtime", int, 0), ("nr_migrations", int, 64)]);
    let inner = types.structure("", &[("pid", int, 0), ("tgid", int, 32), ("__state", int, 64)]);
    let alias = types.add("entity_t", TYPEDEF, 0, entity, &[]);
    let members = [("", inner, 64), ("se", alias, 128), ("cgroups", pointer, 320), ("signal", pointer, 384)];
    types.structure("task_struct", &members);
    let counter = types.structure("percpu_counter", &[("count", int, 64)]);
    let array = types.add("", ARRAY, 0, 0, &[counter, int, 4]);
    types.structure("mm_struct", &[("rss_stat", array, 0)]);
    let name = types.name("cpuacct_cgrp_id");
    types.add("cgroup_subsys_id", ENUM, 1, 4, &[name, 2]);
    let prototype = types.add("", PROTOTYPE, 3, 0, &[0, pointer, 0, int, 0, pointer]);
    let hook = types.add("", POINTER, 0, prototype, &[]);
    types.add("btf_trace_sched_switch", TYPEDEF, 0, hook, &[]);
    types.finish()
}
