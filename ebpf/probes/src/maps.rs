//! Every map. Capacities are defaults; the loader may set others.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, Queue, RingBuf};
use podscope_abi::{
    Blame, Book, BookKey, Cgroup, Closed, ClosedKey, Control, Counters, ExeName, Histogram, Kvm, KvmLayout, Loss,
    Offsets, Reason, TaskRecord, Vcpu,
};

/// Filled by the loader before the programs are verified; every read of it is a constant to the verifier.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::ABSENT;

/// Reads one of [`OFFSETS`]; volatile, since the compiler must not fold the values it sees here.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a read of an initialised static.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::OFFSETS.$field) }
    };
}
pub(crate) use offset;

/// Closed increments per (cgroup, executable).
#[map]
pub(crate) static BOOKS: HashMap<BookKey, Book> = HashMap::with_max_entries(8192, 0);

/// Processes with closed threads, and processes that ended after a collection had seen them.
#[map]
pub(crate) static CLOSED: HashMap<ClosedKey, Closed> = HashMap::with_max_entries(4096, 0);

/// Cgroups that have had tasks.
#[map]
pub(crate) static CGROUPS: HashMap<u64, Cgroup> = HashMap::with_max_entries(4096, 0);

/// Run-queue waits by [`Cgroup::slot`].
#[map]
pub(crate) static WAITS: Array<Histogram> = Array::with_max_entries(1024, 0);

/// Slots of `WAITS` that no cgroup has; filled and refilled by user space.
#[map]
pub(crate) static SLOTS: Queue<u32> = Queue::with_max_entries(1024, 0);

/// Virtual CPUs by thread id; written by user space.
#[map]
pub(crate) static VCPUS: HashMap<u32, Vcpu> = HashMap::with_max_entries(2048, 0);

/// For how long virtual CPUs waited, ns, by who ran right before them.
#[map]
pub(crate) static BLAMES: HashMap<Blame, u64> = HashMap::with_max_entries(4096, 0);

/// What KVM does for virtual CPUs, by the same slots as [`WAITS`].
#[map]
pub(crate) static KVM: Array<Kvm> = Array::with_max_entries(1024, 0);

/// Where KVM's modules keep what is read; written by user space before it attaches to them.
#[map]
pub(crate) static KVM_LAYOUT: Array<KvmLayout> = Array::with_max_entries(1, 0);

/// [`Reason`] by the processor's code of an exit; written by user space.
#[map]
pub(crate) static KVM_REASONS: Array<u64> = Array::with_max_entries(Reason::CODES, 0);

/// Names of executables by id.
#[map]
pub(crate) static EXES: LruHashMap<u64, ExeName> = LruHashMap::with_max_entries(4096, 0);

/// Process exits seen, for kernels whose exit hook does not say which thread is the last one.
#[map]
pub(crate) static EXITS: LruHashMap<ClosedKey, u32> = LruHashMap::with_max_entries(1024, 0);

/// Cgroup and OOM events.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// What did not fit, by [`Loss`].
#[map]
pub(crate) static LOSSES: Array<u64> = Array::with_max_entries(Loss::ALL.len() as u32, 0);

/// What user space steers, by [`Control`].
#[map]
pub(crate) static CONTROL: Array<u64> = Array::with_max_entries(Control::LEN, 0);

/// Where the iterator builds a record: too large for the stack.
#[map]
pub(crate) static RECORD: PerCpuArray<TaskRecord> = PerCpuArray::with_max_entries(1, 0);

/// Where a name is read: too large for the stack of the hooks that need it.
#[map]
pub(crate) static NAME: PerCpuArray<ExeName> = PerCpuArray::with_max_entries(2, 0);

/// An empty book to insert.
pub(crate) static NO_BOOK: Book = Book {
    sums: Counters::ZERO,
    lives: podscope_abi::Lives {
        started_fork: 0,
        started_exec: 0,
        started_moved: 0,
        ended_exit: 0,
        ended_exec: 0,
        ended_moved: 0,
    },
};

/// An empty process to insert.
pub(crate) static NOTHING_CLOSED: Closed = Closed { sums: Counters::ZERO, changes: 0, ended_ns: 0, peak_pages: 0 };
