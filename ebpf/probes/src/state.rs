//! Where a task's state lives: task storage (5.12 and later), or a hash by pid.

use podscope_abi::{TaskFlags, TaskState};

use crate::kernel::task::Task;

/// A task's state in its map.
#[derive(Clone, Copy)]
pub(crate) struct TaskStateRef(*mut TaskState);

impl TaskStateRef {
    /// The state, to read.
    #[inline(always)]
    pub(crate) fn get<'a>(self) -> &'a TaskState {
        // SAFETY: the pointer came from a look-up of this run of the program and was checked for null.
        unsafe { &*self.0 }
    }

    /// The state, to write.
    #[inline(always)]
    pub(crate) fn change<'a>(self) -> &'a mut TaskState {
        // SAFETY: as in `get`; only the task's own path writes, except for the split, which is published last.
        unsafe { &mut *self.0 }
    }

    #[inline(always)]
    pub(crate) fn has(self, flag: u32) -> bool {
        self.get().flags & flag != 0
    }
}

#[cfg(not(feature = "hash-state"))]
mod store {
    use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_storage_get};

    use super::{Task, TaskState, TaskStateRef};

    /// `BPF_LOCAL_STORAGE_GET_F_CREATE`.
    const CREATE: u64 = 1;

    /// A task storage map as BTF describes it; aya has no type for it.
    #[repr(C)]
    struct TaskStorage {
        r#type: *const [i32; 29],
        key: *const i32,
        value: *const TaskState,
        max_entries: *const [i32; 0],
        map_flags: *const [i32; 1],
    }

    // SAFETY: the fields only describe the map; nothing is ever read through them.
    unsafe impl Sync for TaskStorage {}

    /// State of every task that is counted.
    #[unsafe(link_section = ".maps")]
    #[unsafe(no_mangle)]
    static TASKS: TaskStorage = TaskStorage {
        r#type: core::ptr::null(),
        key: core::ptr::null(),
        value: core::ptr::null(),
        max_entries: core::ptr::null(),
        map_flags: core::ptr::null(),
    };

    #[inline(always)]
    fn storage(task: Task, flags: u64) -> Option<TaskStateRef> {
        // SAFETY: `task` is a task the kernel gave us; a null value means zeroes.
        let state = unsafe {
            bpf_task_storage_get(
                (&raw const TASKS).cast_mut().cast(),
                task.0.cast_mut().cast(),
                core::ptr::null_mut(),
                flags,
            )
        };
        if state.is_null() { None } else { Some(TaskStateRef(state.cast())) }
    }

    #[inline(always)]
    pub(crate) fn find(task: Task) -> Option<TaskStateRef> {
        storage(task, 0)
    }

    #[inline(always)]
    pub(crate) fn create(task: Task) -> Option<TaskStateRef> {
        storage(task, CREATE)
    }

    #[inline(always)]
    pub(crate) fn find_current() -> Option<TaskStateRef> {
        // SAFETY: a helper without arguments; the current task is a task.
        find(Task(unsafe { bpf_get_current_task_btf() }.cast_const().cast()))
    }

    /// The kernel frees task storage with the task.
    #[inline(always)]
    pub(crate) fn forget(_task: Task) {}
}

#[cfg(feature = "hash-state")]
mod store {
    use aya_ebpf::macros::map;
    use aya_ebpf::maps::{Array, HashMap};

    use super::{Task, TaskState, TaskStateRef};
    use crate::kernel::current_pid;

    /// State of every task that is counted, by pid.
    #[map]
    static TASKS: HashMap<u32, TaskState> = HashMap::with_max_entries(16_384, 0);

    /// A zeroed state to insert; never written.
    #[map]
    static NO_STATE: Array<TaskState> = Array::with_max_entries(1, 0);

    #[inline(always)]
    pub(crate) fn find(task: Task) -> Option<TaskStateRef> {
        let state = TaskStateRef(TASKS.get_ptr_mut(task.pid())?);
        // A pid is used again: the start tells whose state it is. A thread that takes over its group by exec
        // takes over the leader's pid and start as well.
        (state.get().start == task.start()).then_some(state)
    }

    #[inline(always)]
    pub(crate) fn create(task: Task) -> Option<TaskStateRef> {
        let pid = task.pid();
        let empty = NO_STATE.get(0)?;
        TASKS.insert(pid, empty, 0).ok()?;
        TASKS.get_ptr_mut(pid).map(TaskStateRef)
    }

    #[inline(always)]
    pub(crate) fn find_current() -> Option<TaskStateRef> {
        TASKS.get_ptr_mut(current_pid()).map(TaskStateRef)
    }

    #[inline(always)]
    pub(crate) fn forget(task: Task) {
        let _gone_already = TASKS.remove(task.pid());
    }
}

pub(crate) use store::{create, find, find_current, forget};

/// Creates a task's state and fills in who it is; its counters, cgroup and executable are the caller's.
#[inline(always)]
pub(crate) fn create_for(task: Task) -> Option<TaskStateRef> {
    let state = create(task)?;
    let new = state.change();
    new.start = task.start();
    new.leader_start = task.group_leader().start();
    new.flags = if task.is_leader() { TaskFlags::LEADER } else { 0 };
    if task.is_kernel_thread() {
        new.flags |= TaskFlags::KERNEL;
    }
    Some(state)
}
