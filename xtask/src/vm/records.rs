//! What guests have said of themselves that is worth keeping: the hooks' prototypes and the verifier's work, kernel by
//! kernel, in a committed table from which KERNELS.md is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::expected::{Expected, PROBES};
use super::kernels::KERNELS;
use crate::repository;

const PATH: &str = "xtask/src/vm/recorded.tsv";
const COMMITTED: &str = include_str!("recorded.tsv");
/// The page.
pub const PAGE: &str = "KERNELS.md";
/// By how much more work for the verifier is worth a word.
const GROWTH: f64 = 0.2;

/// Values by kernel, kind and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records(BTreeMap<(String, String, String), String>);

impl Records {
    /// What is committed.
    pub(crate) fn committed() -> Self {
        Self::parse(COMMITTED)
    }

    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut fields = line.splitn(4, '\t').map(str::to_owned);
            Some(((fields.next()?, fields.next()?, fields.next()?), fields.next()?))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// Takes the lines `fact: KIND NAME VALUE` of a guest's step in the place of all that was known of these kinds.
    pub(crate) fn take(&mut self, kernel: &str, text: &str) {
        let fact = |line: &str| {
            // A test's name and what it prints first stand on one line.
            let (_, said) = line.split_once("fact: ")?;
            let mut words = said.splitn(3, ' ').map(str::to_owned);
            Some((words.next()?, words.next()?, words.next()?))
        };
        let facts: Vec<_> = text.lines().filter_map(fact).collect();
        let kinds: BTreeSet<&String> = facts.iter().map(|(kind, ..)| kind).collect();
        self.0.retain(|(of, kind, _), _| of != kernel || !kinds.contains(kind));
        self.0.extend(facts.iter().cloned().map(|(kind, name, value)| ((kernel.to_owned(), kind, name), value)));
    }

    /// What differs from `before` and is worth a word.
    pub(crate) fn changes(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for ((kernel, kind, name), value) in &self.0 {
            let told = |what: String| format!("{kernel}: {kind} {name}: {what}");
            match before.get(kernel, kind, name) {
                None => changes.push(told(format!("{value} (not recorded yet)"))),
                Some(old) if kind == "verified" => {
                    let growth = instructions(value) / instructions(old) - 1.0;
                    if growth > GROWTH {
                        changes.push(told(format!("{old} -> {value} ({:+.0} %)", growth * 100.0)));
                    }
                }
                Some(old) if old != value => changes.push(told(format!("{old} -> {value}"))),
                Some(_) => {}
            }
        }
        changes
    }

    /// Writes the table and the page.
    pub(crate) fn write(&self) -> Result<()> {
        let line = |((kernel, kind, name), value): (&(String, String, String), &String)| {
            format!("{kernel}\t{kind}\t{name}\t{value}\n")
        };
        for (path, content) in [(PATH, self.0.iter().map(line).collect()), (PAGE, self.page())] {
            let path = repository().join(path);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            println!("written: {}", path.display());
        }
        Ok(())
    }

    fn get(&self, kernel: &str, kind: &str, name: &str) -> Option<&String> {
        self.0.get(&(kernel.to_owned(), kind.to_owned(), name.to_owned()))
    }

    fn page(&self) -> String {
        let mut page = HEAD.to_owned();
        let mut table = |title: &str, text: &str, cell: &dyn Fn(usize, &str) -> String| {
            // Writing to a string does not fail.
            let _ = write!(page, "\n## {title}\n\n{text}\n\n| program |");
            KERNELS.iter().for_each(|kernel| page += &format!(" {} |", kernel.line));
            page += &format!("\n|---|{}\n", "---|".repeat(KERNELS.len()));
            for (name, _) in PROBES {
                let cells = (0..KERNELS.len()).map(|kernel| format!(" {} |", cell(kernel, name)));
                page += &format!("| `{name}` |{}\n", cells.collect::<String>());
            }
        };
        table("Probes", PROBES_TEXT, &|kernel, name| {
            let expected = PROBES.iter().find(|(own, _)| *own == name).map(|(_, expected)| expected[kernel]);
            expected.map_or_else(String::new, state)
        });
        table("Verifier", VERIFIER_TEXT, &|kernel, name| {
            self.get(KERNELS[kernel].line, "verified", name).map_or("-".to_owned(), |value| value.replace(' ', " / "))
        });
        page += &format!("\n## Hooks\n\n{HOOKS_TEXT}\n\n| hook | parameters | kernels |\n|---|---|---|\n");
        for (name, _) in PROBES {
            let mut forms: Vec<(&str, Vec<&str>)> = Vec::new();
            for kernel in KERNELS {
                let Some(form) = self.get(kernel.line, "hook", name) else { continue };
                match forms.iter_mut().find(|(known, _)| known == form) {
                    Some((_, kernels)) => kernels.push(kernel.line),
                    None => forms.push((form, vec![kernel.line])),
                }
            }
            for (form, kernels) in forms {
                page += &format!("| `{name}` | `{form}` | {} |\n", kernels.join(", "));
            }
        }
        page
    }
}

/// The page that is made of what is committed.
#[must_use]
pub fn page() -> String {
    Records::committed().page()
}

const HEAD: &str = "\
# Kernels

Written by `cargo xtask vm --record` and `cargo xtask generate`; do not edit. `cargo xtask vm` boots Debian's cloud \
kernels in QEMU, runs the agent and its tests there, and fails where something differs from the first table or the \
kernel refuses a program. [ARCHITECTURE.md](ARCHITECTURE.md#kernel-versions) says what differs between kernels and why.

| guest | on | what runs |
|---|---|---|
| cgroup v2, the runtime's own cgroups | every kernel | `/status`, the tests of the kernel programs, containers of a real containerd: names and conservation, also from a private cgroup namespace; a guest of a few instructions, run by nested KVM, whose modules are loaded after the agent |
| cgroup v2, systemd as the first process and cgroup driver | every kernel | `/status`, containers |
| cgroup v1, no mount of v2 | 5.10 | as the first |
| arm64 (`--arch aarch64`), cgroup v2 | every kernel, at wish | `/status`, the shortest tests of the kernel programs, statically cross-compiled; no containers, because the runtime is taken from the machine that runs the command |

CI runs the first with the shortest tests (`--quick`) on 5.10, 6.1 and 6.12.
";
const PROBES_TEXT: &str = "\
What each program is on each kernel right after its start. `off`: the kernel itself counts run-queue waits; of KVM's: \
it is not loaded yet. Once a test has loaded it, all three are up on every kernel.";
const VERIFIER_TEXT: &str = "\
Instructions that the kernel's verifier looked at before it accepted a program (a million at most), and bytes of stack \
of the program and of each function that it calls (512 at most along any way).";
const HOOKS_TEXT: &str = "What each hook passes, by the type information of each kernel.";

fn state(expected: Expected) -> String {
    match expected {
        Expected::Up => "up".to_owned(),
        Expected::Off(_) => "off".to_owned(),
        Expected::Absent(reason) => format!("absent: {reason}"),
    }
}

/// The first word of a `verified` value; 1 where there is none, so that a division is safe.
fn instructions(value: &str) -> f64 {
    value.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_taken_from_what_tests_print() {
        let mut records = Records::parse("5.10\thook\tgone\tint\n6.1\thook\tstays\tint\n5.10\tverified\ttask\t10 0\n");
        records.take("5.10", "test hooks::all ... fact: hook sched_switch bool, struct task_struct *\nok\n");
        let lines = "5.10\thook\tsched_switch\tbool, struct task_struct *\n6.1\thook\tstays\tint\n\
                     5.10\tverified\ttask\t10 0\n";
        assert_eq!(records, Records::parse(lines));
    }

    #[test]
    fn growth_beyond_a_fifth_and_other_prototypes_are_told() {
        let before = Records::parse("6.1\tverified\ttask\t100 8+0\n6.1\thook\ttask\tint\n");
        let changes = |text: &str| Records::parse(text).changes(&before);
        assert_eq!(changes("6.1\tverified\ttask\t120 8+0\n"), [] as [String; 0]);
        assert_eq!(changes("6.1\tverified\ttask\t121 8+0\n"), ["6.1: verified task: 100 8+0 -> 121 8+0 (+21 %)"]);
        assert_eq!(changes("6.1\thook\ttask\tint, int\n"), ["6.1: hook task: int -> int, int"]);
        assert_eq!(changes("7.2\thook\ttask\tint\n"), ["7.2: hook task: int (not recorded yet)"]);
    }

    #[test]
    fn every_program_is_recorded_on_every_kernel() {
        let records = Records::committed();
        for (kernel, (name, _)) in KERNELS.iter().flat_map(|kernel| PROBES.iter().map(move |probe| (kernel, probe))) {
            for kind in ["hook", "verified"] {
                assert!(records.get(kernel.line, kind, name).is_some(), "{kind} {name} of {}", kernel.line);
            }
        }
    }
}
