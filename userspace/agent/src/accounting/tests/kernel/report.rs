//! What the model kernel reports at a collection: its maps, and the task iterator.

use std::ops::RangeBounds;

use podscope_abi::{RecordKind, TaskFlags, TaskRecord};

use super::super::super::{Accounting, Outcome};
use super::{Kernel, READER};

/// The run queues' clock runs behind the monotonic one by so much.
const QUEUE_CLOCK_BEHIND: u64 = 5_000;

impl Kernel {
    pub(in super::super) fn give_books(&self, accounting: &mut Accounting) {
        self.books.iter().for_each(|(key, book)| accounting.take_book(key, book));
    }

    pub(in super::super) fn give_closed(&self, accounting: &mut Accounting) {
        self.closed.iter().for_each(|(key, closed)| accounting.take_closed(key, closed));
    }

    /// The pid at which the iterator has visited half of the tasks.
    pub(in super::super) fn half(&self) -> u32 {
        self.tasks.keys().nth(self.tasks.len() / 2).copied().unwrap_or(READER)
    }

    /// The iterator, over some pids.
    pub(in super::super) fn give_tasks(&mut self, accounting: &mut Accounting, pids: impl RangeBounds<u32>) {
        for pid in self.tasks.range(pids).map(|(pid, _)| *pid).collect::<Vec<_>>() {
            self.visit(pid, accounting);
        }
    }

    fn visit(&mut self, pid: u32, accounting: &mut Accounting) {
        if self.tasks[&pid].state.is_none() {
            self.adopt(pid);
        }
        if self.state(pid).unknown {
            return;
        }
        let task = &self.tasks[&pid];
        let state = task.state.clone().unwrap();
        let mut record: TaskRecord = bytemuck::Zeroable::zeroed();
        record.raw = task.counters;
        (record.pid, record.tgid, record.leader_start) = (pid, task.process.tgid, task.process.start);
        (record.exe, record.cgroup, record.book_exe) = (state.exe, state.cgroup, state.book_exe);
        record.threads = self.threads(task.process).len() as u32;
        if self.is_leader(pid) {
            record.flags |= TaskFlags::LEADER;
        }
        if pid == READER {
            record.flags |= TaskFlags::READER | TaskFlags::RUNNABLE;
            record.queued_ns = self.now - QUEUE_CLOCK_BEHIND;
        } else if let Some(since) = task.queued {
            record.flags |= TaskFlags::RUNNABLE;
            record.queued_ns = since - QUEUE_CLOCK_BEHIND;
        }
        record.flags |= TaskFlags::MEMORY;
        record.anon_pages = 1 + i64::from(pid);
        if state.older && !state.seen && self.is_leader(pid) {
            record.kind = RecordKind::BASE;
            let raw = std::mem::replace(&mut record.raw, self.groups[&task.process].dead_threads);
            accounting.take_task(&record);
            record.raw = raw;
        }
        record.since = record.raw.since(&state.mark);
        let css = task.cgroup;
        if css == state.cgroup {
            self.void_split(pid);
        } else {
            if state.split.is_none_or(|(to, _)| to != css) {
                self.note_move(pid);
            }
            let split = self.state(pid).split.unwrap().1;
            record.kind = RecordKind::PART;
            record.since = split.since(&state.mark);
            accounting.take_task(&record);
            record.cgroup = css;
            record.book_exe = self.place(css, state.exe);
            record.since = record.raw.since(&split);
        }
        record.kind = RecordKind::TASK;
        record.changes = self.state(pid).changes;
        accounting.take_task(&record);
        self.state(pid).seen = true;
    }

    fn adopt(&mut self, pid: u32) {
        let burner = self.burner(pid);
        let mut state = self.new_state(burner.cgroup, burner.exe, 0);
        (state.older, state.mark) = (true, self.tasks[&pid].counters);
        state.leader = self.is_leader(pid);
        if state.leader {
            *self.older.entry((state.cgroup, state.book_exe)).or_default() += 1;
        }
        self.tasks.get_mut(&pid).unwrap().state = Some(state);
    }

    /// What a collection asks for.
    pub(in super::super) fn obey(&mut self, outcome: &Outcome) {
        self.closed.retain(|key, _| !outcome.forget.contains(key));
        self.books.retain(|key, _| !outcome.retired.contains(&key.cgroup));
        self.exes.retain(|cgroup, _| !outcome.retired.contains(cgroup));
    }
}
