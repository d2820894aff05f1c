//! The running kernel's type information (BTF): where its structs keep what the programs read.
//!
//! Only what is needed: members by path, array and enum facts, parameters of tracepoints. The file is scanned
//! once and dropped. Format: Documentation/bpf/btf.rst.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

/// Where the kernel offers its BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FORWARD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_TYPE_TAG: u32 = 18;

/// How many types may stand for one another. Kernels have fewer than ten; a file that refers to itself has no end.
const DEEPEST: usize = 32;
/// Structs without a name that are looked into for one member. `task_struct` has fewer than twenty.
const MOST_INNER: usize = 256;

/// Why BTF could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file is not there or not readable.
    #[error("cannot read {path}: {source}; the kernel must be built with CONFIG_DEBUG_INFO_BTF")]
    Read {
        /// File.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
    /// The content is not BTF, or cut short.
    #[error("{path} is not BTF: {reason}")]
    Format {
        /// File.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// A struct member found by path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bits from the start of the outermost struct.
    pub bit_offset: u32,
    /// Width in bits for a bit field, else 0.
    pub bit_size: u32,
    /// Its type.
    pub type_id: u32,
}

impl Member {
    /// Seen from a struct that has the one it is in at `bit_offset`.
    fn within(self, bit_offset: u32) -> Option<Self> {
        Some(Self { bit_offset: self.bit_offset.checked_add(bit_offset)?, ..self })
    }
}

/// A scanned BTF file.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Where a module's own strings begin, and the first offset that means one of them.
    module_strings: Option<(usize, u32)>,
    /// Byte offset of each type's header; index 0 is `void`.
    types: Vec<u32>,
    /// Structs found before: where types are sorted by name (7.2) each search passes most of them.
    structs: RefCell<HashMap<String, u32>>,
}

/// Header of a type (`struct btf_type`).
#[derive(Clone, Copy)]
struct Header {
    name: u32,
    kind: u32,
    members: u32,
    bit_fields: bool,
    /// Size or type.
    size: u32,
    /// Where what follows the header begins.
    body: usize,
}

impl Btf {
    /// Reads and scans a BTF file.
    ///
    /// # Errors
    /// When the file cannot be read or is not little-endian BTF of version 1.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let name = || path.display().to_string();
        let data = std::fs::read(path).map_err(|source| BtfError::Read { path: name(), source })?;
        Self::scan(data).map_err(|reason| BtfError::Format { path: name(), reason })
    }

    pub(super) fn scan(data: Vec<u8>) -> Result<Self, &'static str> {
        let (types, strings) = sections(&data)?;
        let mut btf =
            Self { data, strings: strings.start, module_strings: None, types: vec![0], structs: RefCell::default() };
        btf.take_types(types)?;
        Ok(btf)
    }

    /// Adds the types of a module, whose ids and names go on where the kernel's end (`/sys/kernel/btf/<module>`, from
    /// Linux 5.11).
    ///
    /// # Errors
    /// When the file cannot be read or is not BTF. The kernel's own types are there in any case.
    pub fn add_module(&mut self, path: &Path) -> Result<(), BtfError> {
        let name = || path.display().to_string();
        let data = std::fs::read(path).map_err(|source| BtfError::Read { path: name(), source })?;
        self.add_types(&data).map_err(|reason| BtfError::Format { path: name(), reason })
    }

    fn add_types(&mut self, data: &[u8]) -> Result<(), &'static str> {
        let (_, own) = sections(&self.data)?;
        let (types, strings) = sections(data)?;
        let base = self.data.len();
        self.data.extend_from_slice(data);
        self.module_strings = Some((base + strings.start, own.len() as u32));
        self.structs.get_mut().clear();
        self.take_types(base + types.start..base + types.end)
    }

    fn take_types(&mut self, section: Range<usize>) -> Result<(), &'static str> {
        let mut at = section.start;
        while at + 12 <= section.end {
            self.types.push(at as u32);
            let head = self.header_at(at);
            at = head.body + body_len(&head).ok_or("a type of unknown kind")?;
        }
        Ok(())
    }

    /// Where a name stands.
    fn string_at(&self, offset: u32) -> usize {
        match self.module_strings {
            Some((strings, first)) if offset >= first => strings + (offset - first) as usize,
            _ => self.strings + offset as usize,
        }
    }

    fn header_at(&self, at: usize) -> Header {
        let info = word(&self.data, at + 4);
        Header {
            name: word(&self.data, at),
            kind: (info >> 24) & 0x1f,
            members: info & 0xffff,
            bit_fields: info >> 31 != 0,
            size: word(&self.data, at + 8),
            body: at + 12,
        }
    }

    fn header(&self, id: u32) -> Option<Header> {
        let at = *self.types.get(id as usize)?;
        (at != 0).then(|| self.header_at(at as usize))
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let at = self.string_at(offset);
        self.data
            .get(at..at + name.len() + 1)
            .is_some_and(|s| &s[..name.len()] == name.as_bytes() && s[name.len()] == 0)
    }

    /// The id of a type by kind and name.
    fn find(&self, kinds: &[u32], name: &str) -> Option<u32> {
        (1..self.types.len() as u32).find(|&id| {
            let head = self.header_at(self.types[id as usize] as usize);
            // A forward-declared copy of a struct has no members.
            kinds.contains(&head.kind)
                && (matches!(head.kind, KIND_TYPEDEF | KIND_FUNC) || head.members > 0)
                && self.is_named(head.name, name)
        })
    }

    fn find_struct(&self, name: &str) -> Option<u32> {
        if let Some(id) = self.structs.borrow().get(name) {
            return Some(*id);
        }
        let id = self.find(&[KIND_STRUCT, KIND_UNION], name)?;
        self.structs.borrow_mut().insert(name.to_owned(), id);
        Some(id)
    }

    /// Follows typedefs and qualifiers.
    fn plain(&self, mut id: u32) -> Option<(u32, Header)> {
        for _ in 0..DEEPEST {
            let head = self.header(id)?;
            match head.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => id = head.size,
                _ => return Some((id, head)),
            }
        }
        None
    }

    /// Finds `struct.member.member…`, through anonymous structs and unions; alternatives are divided by `|`.
    pub fn member(&self, paths: &str) -> Option<Member> {
        paths.split('|').find_map(|path| {
            let mut names = path.split('.');
            let outer = self.find_struct(names.next()?)?;
            names.try_fold(Member { bit_offset: 0, bit_size: 0, type_id: outer }, |inside, name| {
                self.member_of(inside.type_id, name, &mut HashSet::new())?.within(inside.bit_offset)
            })
        })
    }

    /// `searched`: the structs without a name on the way and beside it, each of which is looked into once.
    fn member_of(&self, id: u32, name: &str, searched: &mut HashSet<u32>) -> Option<Member> {
        let (_, head) = self.plain(id)?;
        if head.kind != KIND_STRUCT && head.kind != KIND_UNION {
            return None;
        }
        (0..head.members as usize).find_map(|i| {
            let at = head.body + i * 12;
            let (member_name, type_id, place) =
                (word(&self.data, at), word(&self.data, at + 4), word(&self.data, at + 8));
            let (bit_size, bit_offset) = if head.bit_fields { (place >> 24, place & 0xff_ffff) } else { (0, place) };
            if self.is_named(member_name, name) {
                return Some(Member { bit_offset, bit_size, type_id });
            }
            if !self.is_named(member_name, "") || searched.len() >= MOST_INNER || !searched.insert(type_id) {
                return None;
            }
            self.member_of(type_id, name, searched)?.within(bit_offset)
        })
    }

    /// Size in bytes of an array member's element, and whether the element is a struct of the given name.
    pub fn array_element(&self, member: &Member, name: &str) -> Option<(u32, bool)> {
        let (_, head) = self.plain(member.type_id)?;
        if head.kind != KIND_ARRAY {
            return None;
        }
        let (_, element) = self.plain(word(&self.data, head.body))?;
        Some((element.size, self.is_named(element.name, name)))
    }

    /// Value of an enumerator.
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let head = self.header(self.find(&[KIND_ENUM], enumeration)?)?;
        (0..head.members as usize).find_map(|i| {
            let at = head.body + i * 8;
            self.is_named(word(&self.data, at), name).then(|| word(&self.data, at + 4))
        })
    }

    /// Parameters of a tracepoint as `btf_trace_<name>` declares them, without the leading `void *`: for each,
    /// whether it is a pointer.
    pub fn tracepoint(&self, name: &str) -> Option<Vec<bool>> {
        let parameters = self.tracepoint_parameters(name)?;
        parameters.into_iter().map(|id| self.plain(id).map(|(_, head)| head.kind == KIND_PTR)).collect()
    }

    /// The same parameters as the types that C would write, divided by commas.
    pub fn tracepoint_prototype(&self, name: &str) -> Option<String> {
        Some(self.types_in_c(self.tracepoint_parameters(name)?))
    }

    /// Types of the parameters of a kernel function, as C would write them.
    pub fn function_prototype(&self, name: &str) -> Option<String> {
        let function = self.header(self.find(&[KIND_FUNC], name)?)?;
        Some(self.types_in_c(self.parameters(function.size)?))
    }

    fn tracepoint_parameters(&self, name: &str) -> Option<Vec<u32>> {
        let (_, pointer) = self.plain(self.find(&[KIND_TYPEDEF], &format!("btf_trace_{name}"))?)?;
        let parameters = self.parameters(pointer.size).filter(|_| pointer.kind == KIND_PTR)?;
        Some(parameters.into_iter().skip(1).collect())
    }

    /// Type ids of a function's parameters.
    fn parameters(&self, id: u32) -> Option<Vec<u32>> {
        let (_, proto) = self.plain(id).filter(|(_, head)| head.kind == KIND_FUNC_PROTO)?;
        Some((0..proto.members as usize).map(|i| word(&self.data, proto.body + i * 8 + 4)).collect())
    }

    fn types_in_c(&self, ids: Vec<u32>) -> String {
        ids.into_iter().map(|id| self.type_in_c(id)).collect::<Vec<_>>().join(", ")
    }

    fn type_in_c(&self, id: u32) -> String {
        let Some(head) = self.header(id) else { return "void".to_owned() };
        let inner = || self.type_in_c(head.size);
        match head.kind {
            KIND_PTR => format!("{} *", inner()).replace("* *", "**"),
            KIND_CONST => format!("const {}", inner()),
            KIND_VOLATILE | KIND_RESTRICT | KIND_TYPE_TAG => inner(),
            KIND_FUNC_PROTO => "function".to_owned(),
            KIND_STRUCT | KIND_FORWARD => format!("struct {}", self.text(head.name)),
            KIND_UNION => format!("union {}", self.text(head.name)),
            KIND_ENUM => format!("enum {}", self.text(head.name)),
            _ => self.text(head.name),
        }
    }

    /// A name; empty where it is cut short.
    fn text(&self, offset: u32) -> String {
        let rest = self.data.get(self.string_at(offset)..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == 0).unwrap_or(0);
        String::from_utf8_lossy(&rest[..end]).into_owned()
    }
}

/// Where types and strings stand.
fn sections(data: &[u8]) -> Result<(Range<usize>, Range<usize>), &'static str> {
    if data.len() < 24 || u16::from_le_bytes([data[0], data[1]]) != MAGIC || data[2] != 1 {
        return Err("no BTF header of version 1");
    }
    let header = word(data, 4) as usize;
    let section = |at: usize| {
        let start = header + word(data, at) as usize;
        start..start + word(data, at + 4) as usize
    };
    let (types, strings) = (section(8), section(16));
    if types.end > data.len() || strings.end > data.len() {
        return Err("a section lies outside of the file");
    }
    Ok((types, strings))
}

/// Bytes after a type's header; `None` for a kind that this kernel's format should not have.
fn body_len(head: &Header) -> Option<usize> {
    let members = head.members as usize;
    Some(match head.kind {
        1 | 14 | 17 => 4,
        2 | 7..=12 | 16 | 18 => 0,
        3 => 12,
        4 | 5 | 15 | 19 => members * 12,
        6 | 13 => members * 8,
        _ => return None,
    })
}

fn word(data: &[u8], at: usize) -> u32 {
    data.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
#[path = "../../tests/support/btf.rs"]
mod made;
#[cfg(test)]
mod tests {
    use super::*;
    use made::{ENUM, STRUCT, TYPEDEF, Types};

    fn scanned(types: Types) -> Btf {
        Btf::scan(types.finish()).unwrap()
    }

    #[test]
    fn a_small_kernel_is_read() {
        let btf = Btf::scan(made::small_kernel()).unwrap();
        let offset = |path| btf.member(path).map(|member| member.bit_offset);
        assert_eq!((offset("task_struct.tgid"), offset("task_struct.se.nr_migrations")), (Some(96), Some(192)));
        assert_eq!(btf.enumerator("cgroup_subsys_id", "cpuacct_cgrp_id"), Some(2));
        assert_eq!(btf.tracepoint("sched_switch"), Some(vec![false, true]));
        let rss = btf.member("mm_struct.rss_stat").unwrap();
        assert_eq!(btf.array_element(&rss, "percpu_counter"), Some((64, true)));
    }

    #[test]
    fn a_modules_types_go_on_where_the_kernels_end() {
        let mut kernel = Types::default();
        let int = kernel.add("int", 1, 0, 4, &[32]);
        let counter = kernel.structure("counter", &[("count", int, 64)]);
        let mut btf = scanned(kernel);
        // The kernel's names, in the order in which they were first used.
        let mut module = Types::default();
        (module.known, module.count) = ("\0int\0count\0counter\0", 2);
        module.structure("guest", &[("own", counter, 128), ("count", int, 32)]);
        btf.add_types(&module.finish()).unwrap();
        let offset = |path| btf.member(path).map(|member| member.bit_offset);
        assert_eq!(
            (offset("guest.own.count"), offset("guest.count"), offset("counter.count")),
            (Some(192), Some(32), Some(64))
        );
        assert!(btf.add_types(&[0; 64]).is_err());
        assert_eq!(btf.member("guest.count").unwrap().bit_offset, 32);
    }

    #[test]
    fn types_that_refer_to_themselves_are_no_end() {
        let mut types = Types::default();
        let own = types.add("task_struct", TYPEDEF, 0, 1, &[]);
        types.structure("outer", &[("x", own, 0)]);
        // Itself, and two that are in one another, all without a name.
        let first = 4;
        types.structure("endless", &[("", 3, 0), ("", first, 0)]);
        types.structure("", &[("", first + 1, 8)]);
        types.structure("", &[("", first, 8), ("found", own, 16)]);
        let btf = scanned(types);
        assert_eq!(btf.member("outer.x.pid"), None);
        assert_eq!(btf.member("endless.no_such_member"), None);
        assert_eq!(btf.member("endless.found").unwrap().bit_offset, 24);
        assert_eq!(btf.tracepoint("x"), None);
    }

    #[test]
    fn many_structs_within_one_another_take_no_time() {
        // Each has the next one twice: without a bound two to the power of their number.
        let mut types = Types::default();
        types.structure("top", &[("", 2, 0), ("", 2, 0)]);
        for inner in 3..20_000 {
            types.structure("", &[("", inner, 0), ("", inner, 0)]);
        }
        let start = std::time::Instant::now();
        assert_eq!(scanned(types).member("top.no_such_member"), None);
        assert!(start.elapsed() < std::time::Duration::from_secs(1));
    }

    #[test]
    fn offsets_beyond_all_bounds_are_no_member() {
        let mut types = Types::default();
        types.structure("inner", &[("x", 0, u32::MAX)]);
        types.structure("outer", &[("inner", 1, 8), ("", 1, 8)]);
        // Members that the file has not.
        types.add("cut", STRUCT, u32::from(u16::MAX), 8, &[]);
        types.add("cgroup_subsys_id", ENUM, 3, 4, &[]);
        let btf = scanned(types);
        assert_eq!((btf.member("outer.inner.x"), btf.member("outer.x")), (None, None));
        assert_eq!((btf.member("cut.x"), btf.enumerator("cgroup_subsys_id", "x")), (None, None));
    }

    #[test]
    fn finds_members_of_the_running_kernel() {
        let btf = Btf::read(Path::new(VMLINUX)).unwrap();
        assert!(btf.member("task_struct.pid").unwrap().bit_offset > 0);
        let inner = btf.member("task_struct.se.sum_exec_runtime").unwrap().bit_offset;
        let outer = btf.member("task_struct.se").unwrap().bit_offset;
        assert_eq!(inner, outer + btf.member("sched_entity.sum_exec_runtime").unwrap().bit_offset);
        assert_eq!(btf.member("task_struct.sched_contributes_to_load").unwrap().bit_size, 1);
        assert_eq!(btf.member("task_struct.no_such_member"), None);
        assert!(btf.member("task_struct.no_such_member|task_struct.tgid").is_some());
    }

    #[test]
    fn knows_tracepoints() {
        let btf = Btf::read(Path::new(VMLINUX)).unwrap();
        let switch = btf.tracepoint("sched_switch").unwrap();
        assert!(switch.len() >= 3 && !switch[0] && switch[1] && switch[2]);
        assert_eq!(btf.tracepoint("no_such_tracepoint"), None);
        let prototype = btf.tracepoint_prototype("sched_switch").unwrap();
        assert!(prototype.starts_with("bool, struct task_struct *, struct task_struct *"), "{prototype}");
        assert_eq!(prototype.split(", ").count(), switch.len());
        let iterator = btf.function_prototype("bpf_iter_task").unwrap();
        assert_eq!(iterator, "struct bpf_iter_meta *, struct task_struct *");
    }

    #[test]
    fn refuses_what_is_not_btf() {
        assert!(Btf::scan(vec![0; 64]).is_err());
        assert!(Btf::scan(Vec::new()).is_err());
        let mut cut = std::fs::read(VMLINUX).unwrap();
        cut.truncate(4096);
        assert!(Btf::scan(cut).is_err());
    }
}
