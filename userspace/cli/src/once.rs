//! `podscope top --once`: one plain table, one line per container, process and remainder.

use std::io::{self, Write as _};

use crate::args;
use crate::client::{Client, Error};
use crate::model::Top;
use crate::text;
use crate::view::columns::Column;
use crate::view::tree::{self, Expansion, Node, Row, Sort};

/// Asks once and prints what comes.
pub async fn run(client: &Client, options: &args::Top) -> anyhow::Result<()> {
    let answer = client.top_raw(options.processes).await?;
    let page = if options.json {
        raw(client, "/top", &answer)?
    } else {
        table(&client.parse("/top", &answer)?, options.sort, &options.filter)
    };
    print(&page)
}

/// Writes to standard output.
pub fn print(page: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(page.as_bytes())?;
    Ok(out.flush()?)
}

/// A JSON answer as it came, if it is one; control characters that JSON lets through are written as escapes.
pub fn raw(client: &Client, path: &str, answer: &[u8]) -> Result<String, Error> {
    client.parse::<serde::de::IgnoredAny>(path, answer)?;
    let mut page = String::with_capacity(answer.len() + 1);
    for c in String::from_utf8_lossy(answer).trim_end().chars() {
        match c {
            '\u{7f}'..='\u{9f}' => page.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => page.push(c),
        }
    }
    page.push('\n');
    Ok(page)
}

const NAMES: [&str; 5] = ["NAMESPACE", "POD", "CONTAINER", "EXECUTABLE", "ROLE"];
const FIGURES: [Column; 9] = [
    Column::Pid,
    Column::Cpu,
    Column::Wait,
    Column::Blocked,
    Column::Memory,
    Column::Faults,
    Column::Switches,
    Column::CpuTime,
    Column::Uptime,
];

/// The table: names to the left, figures to the right, `-` for what does not apply. Each line stands for itself.
pub fn table(top: &Top, sort: Sort, filter: &str) -> String {
    let titles = NAMES.into_iter().chain(FIGURES.map(Column::title));
    let mut lines: Vec<Vec<String>> = vec![titles.map(|title| title.replace(' ', "-")).collect()];
    let mut owner = [const { String::new() }; 3];
    for row in tree::rows(top, sort, filter, &Expansion::all(true)) {
        let executable = match row.node {
            Node::Pod(_) => continue,
            Node::Container(container) => {
                let uid = || container.pod_uid.as_deref();
                owner[0] = container.namespace.as_deref().unwrap_or_default().to_owned();
                owner[1] = container.pod.as_deref().or_else(uid).unwrap_or_default().to_owned();
                owner[2] = container.name().to_owned();
                "(all)".to_owned()
            }
            Node::Process(process) => process.name().to_owned(),
            Node::Vcpu(vcpu) => format!("(vcpu-{})", vcpu.id),
            Node::Other => "(others)".to_owned(),
        };
        let role = match row.node {
            Node::Process(process) => process.role.as_deref().unwrap_or_default(),
            _ => "",
        };
        lines.push(line(&owner, [executable, role.to_owned()], &row));
    }
    align(&lines)
}

fn line(owner: &[String; 3], process: [String; 2], row: &Row<'_>) -> Vec<String> {
    let figures = FIGURES.iter().map(|column| column.text(row));
    let cells = owner.iter().cloned().chain(process).chain(figures);
    cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }).collect()
}

fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| text::width(&line[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut page = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            let pad = " ".repeat(widths[column] - text::width(cell));
            let is_name = column < NAMES.len();
            let (before, after) = if is_name { ("", &*pad) } else { (&*pad, "") };
            page.extend([before, cell, after, if column + 1 < columns { "  " } else { "\n" }]);
        }
    }
    page
}
