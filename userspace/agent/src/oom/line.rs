//! What the kernel logs about an OOM kill (mm/oom_kill.c, mm/memcontrol.c), and the form of `/dev/kmsg` records.

/// Why the kernel had to kill (`enum oom_constraint`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// The whole node was out of memory.
    None,
    /// The memory nodes of a cpuset were full.
    Cpuset,
    /// The memory nodes of a NUMA policy were full.
    MemoryPolicy,
    /// A cgroup reached its limit.
    Memcg,
}

/// Whom the OOM killer chose, and on whose account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OomLine {
    /// The victim's process id, in the first pid namespace.
    pub pid: u32,
    /// Why.
    pub constraint: Constraint,
    /// Path of the cgroup whose limit was reached; only with [`Constraint::Memcg`].
    pub oom_memcg: Option<String>,
    /// Path of the victim's memory cgroup; of a process killed with its group, the group's.
    pub task_memcg: Option<String>,
    /// Not chosen itself, but killed because its group dies as one (`memory.oom.group`).
    pub with_group: bool,
}

/// A line of the log that tells of an OOM kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A victim was chosen. The kernel leaves this line out after ten kills within five seconds.
    Chosen(OomLine),
    /// A process was killed; written for each of them.
    Killed {
        /// Its id.
        pid: u32,
    },
    /// The processes killed from here on die because the last victim's cgroup dies as one.
    Group {
        /// Path of that cgroup.
        path: String,
    },
}

/// Reads the text of a log record; nothing if it is of another matter or incomplete.
pub(super) fn parse(text: &str) -> Option<Line> {
    if let Some(fields) = text.strip_prefix("oom-kill:constraint=") {
        return chosen(fields).map(Line::Chosen);
    }
    if let Some(rest) = text.strip_prefix("Tasks in ") {
        let path = rest.strip_suffix(" are going to be killed due to memory.oom.group set")?;
        return Some(Line::Group { path: path.to_owned() });
    }
    let (message, victim) = text.split_once(": Killed process ")?;
    let pid = victim.split_once(" (")?.0.parse().ok()?;
    message.contains("ut of memory").then_some(Line::Killed { pid })
}

/// `CONSTRAINT_…,nodemask=…,cpuset=…,mems_allowed=…{,oom_memcg=…|,global_oom},task_memcg=…,task=…,pid=…,uid=…`
///
/// Names of tasks and cgroups may hold anything that looks like a field, but a path begins with a slash, which no
/// name can hold, and the numbers stand at the very end.
fn chosen(fields: &str) -> Option<OomLine> {
    let (fields, uid) = fields.rsplit_once(",uid=")?;
    let _complete: u32 = uid.parse().ok()?;
    let (fields, pid) = fields.rsplit_once(",pid=")?;
    let (constraint, fields) = fields.split_once(',')?;
    let constraint = match constraint {
        "CONSTRAINT_NONE" => Constraint::None,
        "CONSTRAINT_CPUSET" => Constraint::Cpuset,
        "CONSTRAINT_MEMORY_POLICY" => Constraint::MemoryPolicy,
        "CONSTRAINT_MEMCG" => Constraint::Memcg,
        _ => return None,
    };
    let (before, task_memcg) = match fields.split_once(",task_memcg=/") {
        Some((before, rest)) => (before, Some(rest.split_once(",task=").map_or(rest, |(path, _)| path))),
        None => (fields, None),
    };
    let oom_memcg = before.split_once(",oom_memcg=/").map(|(_, path)| path);
    let path = |rest: &str| format!("/{rest}");
    Some(OomLine {
        pid: pid.parse().ok()?,
        constraint,
        oom_memcg: oom_memcg.filter(|_| constraint == Constraint::Memcg).map(path),
        task_memcg: task_memcg.map(path),
        with_group: false,
    })
}

/// A record of `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg): `prefix,sequence,µs,flags[,…];text\n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its number; the kernel counts up by one.
    pub sequence: u64,
    /// Written by the kernel itself, not by a process.
    pub is_kernels: bool,
    /// Goes on where an earlier record stopped.
    pub continues: bool,
    /// The text, escapes undone.
    pub text: String,
}

impl Record {
    /// Reads a record; nothing if it is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let semicolon = bytes.iter().position(|&byte| byte == b';')?;
        let mut fields = std::str::from_utf8(&bytes[..semicolon]).ok()?.split(',');
        let prefix: u64 = fields.next()?.parse().ok()?;
        let sequence = fields.next()?.parse().ok()?;
        let continues = fields.nth(1)?.contains('c');
        let text = bytes[semicolon + 1..].split(|&byte| byte == b'\n').next()?;
        // The lower three bits are the level; the kernel's own facility is 0.
        Some(Self { sequence, is_kernels: prefix >> 3 == 0, continues, text: unescape(text) })
    }
}

/// Undoes `\xNN`, as which the kernel writes a backslash and whatever cannot be printed.
fn unescape(mut text: &[u8]) -> String {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let digits = rest.strip_prefix(b"x").and_then(|rest| rest.get(..2));
        let escaped = digits.filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                text = &rest[3..];
            }
            None => {
                plain.push(first);
                text = rest;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Puts lines together that the kernel wrote in pieces because another CPU wrote in between.
#[derive(Debug, Default)]
pub(super) struct Joiner(String);

/// Two paths of cgroups and some more; nothing that the kernel writes about a kill is longer.
const LONGEST: usize = 3 * 4096;

impl Joiner {
    /// Takes the next record and gives the line that it completes.
    pub(super) fn take(&mut self, record: &Record) -> Option<Line> {
        if !record.is_kernels {
            return None;
        }
        if !record.continues {
            let line = parse(&record.text);
            if line.is_none() && (record.text.starts_with("oom-kill:") || record.text.starts_with("Tasks in ")) {
                self.0.clone_from(&record.text);
            }
            return line;
        }
        if self.0.is_empty() || self.0.len() + record.text.len() > LONGEST {
            self.0.clear();
            return None;
        }
        self.0.push_str(&record.text);
        parse(&self.0).inspect(|_| self.0.clear())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Linux 6.18 writes them.
    const CHOSEN: &[u8] =
        b"6,424,4111612130,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,\
        oom_memcg=/limited,task_memcg=/limited/inner,task=python3,pid=24857,uid=0\n";
    const KILLED: &[u8] = b"3,425,4111612145,-;Memory cgroup out of memory: Killed process 24857 (python3) \
        total-vm:118984kB, anon-rss:20224kB, file-rss:6580kB, shmem-rss:0kB, UID:0 pgtables:100kB oom_score_adj:0\n";

    fn line_of(bytes: &[u8]) -> Option<Line> {
        Joiner::default().take(&Record::parse(bytes).unwrap())
    }

    fn chosen_of(text: &str) -> OomLine {
        match parse(text) {
            Some(Line::Chosen(line)) => line,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn recorded_lines() {
        let line = OomLine {
            pid: 24857,
            constraint: Constraint::Memcg,
            oom_memcg: Some("/limited".to_owned()),
            task_memcg: Some("/limited/inner".to_owned()),
            with_group: false,
        };
        assert_eq!(line_of(CHOSEN), Some(Line::Chosen(line)));
        assert_eq!(line_of(KILLED), Some(Line::Killed { pid: 24857 }));
        assert_eq!(line_of(b"6,1,2,-;Tasks state (memory values in pages):\n"), None);
    }

    #[test]
    fn a_node_without_memory_has_no_limit() {
        let text = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
                    task_memcg=/user.slice,task=a,oom_memcg=/,pid=7,uid=1000";
        let line = chosen_of(text);
        assert_eq!((line.pid, line.constraint, line.oom_memcg), (7, Constraint::None, None));
        assert_eq!(line.task_memcg.as_deref(), Some("/user.slice"));
    }

    #[test]
    fn names_cannot_pass_for_fields() {
        let line = chosen_of(
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,oom_memcg=y,mems_allowed=0-1,\
             oom_memcg=/a,task_memcg=/a/b,c=d,task=x,pid=1,uid=2,,pid=33,uid=0",
        );
        assert_eq!(
            (line.pid, line.oom_memcg.as_deref(), line.task_memcg.as_deref()),
            (33, Some("/a"), Some("/a/b,c=d"))
        );
    }

    #[test]
    fn escapes_are_undone() {
        let record = br"6,9,9,-;Tasks in /a/b\x5cx2dc\xc3\xa9\x are going to be killed due to memory.oom.group set";
        assert_eq!(line_of(record), Some(Line::Group { path: r"/a/b\x2dcé\x".to_owned() }));
    }

    #[test]
    fn what_a_process_writes_is_not_believed() {
        assert!(Record::parse(b"12,1,2,-;x").is_some_and(|record| !record.is_kernels));
        let forged = [b"12", &CHOSEN[1..]].concat();
        assert_eq!(line_of(&forged), None);
    }

    /// The pieces are those of the separate `printk` calls in the kernel.
    #[test]
    fn pieces_are_joined_across_other_records() {
        let pieces = [
            "6,1,1,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)",
            "6,2,1,c;,cpuset=/,mems_allowed=0",
            "4,3,1,-;a message of another CPU",
            "6,4,1,c;,oom_memcg=/kubepods",
            "6,5,1,c;,task_memcg=/kubepods/a",
        ];
        let mut joiner = Joiner::default();
        for piece in pieces {
            assert_eq!(joiner.take(&Record::parse(piece.as_bytes()).unwrap()), None, "{piece}");
        }
        let last = Record::parse(b"6,6,1,c;,task=sh,pid=5,uid=0\n").unwrap();
        let Some(Line::Chosen(line)) = joiner.take(&last) else { panic!("no line") };
        assert_eq!((line.pid, line.oom_memcg.as_deref()), (5, Some("/kubepods")));
        assert_eq!(joiner.take(&last), None, "a line is given once");
    }

    proptest! {
        #[test]
        fn any_bytes_are_tolerated(bytes in prop::collection::vec(any::<u8>(), 0..300), text in any::<String>()) {
            let mut joiner = Joiner::default();
            if let Some(record) = Record::parse(&bytes) {
                joiner.take(&record);
            }
            for prefix in ["oom-kill:constraint=CONSTRAINT_MEMCG,", "Tasks in ", "Out of memory: Killed process "] {
                parse(&format!("{prefix}{text}"));
                joiner.take(&Record { sequence: 0, is_kernels: true, continues: text.len() % 2 == 0, text: format!("{prefix}{text}") });
            }
            prop_assert!(joiner.0.len() <= LONGEST + text.len() + 40);
        }

        /// A recorded line cut anywhere names no other victim.
        #[test]
        fn a_cut_line_is_none(cut in 0usize..1000) {
            let text = Record::parse(CHOSEN).unwrap().text;
            let cut = cut % text.len();
            prop_assert_eq!(parse(&text[..cut]), None);
        }

        #[test]
        fn what_is_written_is_read(
            pid in any::<u32>(),
            names in prop::collection::vec("[a-z0-9._:\\\\-]{1,40}", 1..5),
            above in 0usize..5,
            task in "[ -~]{0,15}",
        ) {
            let (limit, path) = (names[..names.len() - above.min(names.len() - 1)].join("/"), names.join("/"));
            let written = format!(
                "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=/{limit},\
                 task_memcg=/{path},task={task},pid={pid},uid=4294967295"
            );
            let escaped = written.replace('\\', "\\x5c");
            let record = Record::parse(format!("6,1,2,-,caller=T1;{escaped}\n SUBSYSTEM=x\n").as_bytes()).unwrap();
            let Some(Line::Chosen(line)) = Joiner::default().take(&record) else { panic!("{written}") };
            prop_assert_eq!(line.pid, pid);
            prop_assert_eq!(line.oom_memcg, Some(format!("/{limit}")));
            prop_assert_eq!(line.task_memcg, Some(format!("/{path}")));
        }
    }
}
