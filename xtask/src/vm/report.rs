//! The printed table: what was looked at × guest, and below it all that is not as it should be.

use std::fmt::Write as _;

use super::judge::Cell;

/// A guest's column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// Kernel and cgroups, two words.
    pub(crate) title: [String; 2],
    /// Wall clock, seconds.
    pub(crate) seconds: u64,
    pub(crate) cells: Vec<Cell>,
}

/// The table as text.
pub(crate) fn table(columns: &[Column]) -> String {
    let mut rows: Vec<&str> = Vec::new();
    for cell in columns.iter().flat_map(|column| &column.cells) {
        if !rows.contains(&cell.row.as_str()) {
            rows.push(&cell.row);
        }
    }
    let mut lines: Vec<Vec<String>> = (0..2)
        .map(|i| std::iter::once(String::new()).chain(columns.iter().map(|c| c.title[i].clone())).collect())
        .collect();
    for row in rows {
        let shown = |column: &Column| {
            let cell = column.cells.iter().find(|cell| cell.row == row);
            cell.map_or("-".to_owned(), |cell| {
                format!("{}{}", if cell.fault.is_some() { "! " } else { "" }, cell.shown)
            })
        };
        lines.push(std::iter::once(row.to_owned()).chain(columns.iter().map(shown)).collect());
    }
    let seconds = columns.iter().map(|column| format!("{} s", column.seconds));
    lines.push(std::iter::once("wall clock".to_owned()).chain(seconds).collect());
    aligned(&lines)
}

/// What is wrong, guest by guest; empty where nothing is.
pub(crate) fn faults(columns: &[Column]) -> String {
    let mut text = String::new();
    for column in columns {
        for (row, fault) in column.cells.iter().filter_map(|cell| Some((&cell.row, cell.fault.as_ref()?))) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{} / {row}: {fault}", column.title.join(" "));
        }
    }
    text
}

fn aligned(lines: &[Vec<String>]) -> String {
    let width =
        |i: usize| lines.iter().filter_map(|line| line.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().enumerate().map(|(i, cell)| format!("{cell:<0$}", width(i))).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_every_row_of_every_guest() {
        let cell = |row: &str, shown: &str, fault: Option<&str>| Cell {
            row: row.to_owned(),
            shown: shown.to_owned(),
            fault: fault.map(str::to_owned),
        };
        let column = |kernel: &str, cells| Column { title: [kernel.to_owned(), "v2".to_owned()], seconds: 7, cells };
        let columns = [
            column("5.10", vec![cell("task", "up", None)]),
            column("6.1", vec![cell("task", "absent", Some("refused")), cell("tests", "3 passed", None)]),
        ];
        let expected = "            5.10  6.1\n            v2    v2\ntask        up    ! absent\n\
                        tests       -     3 passed\nwall clock  7 s   7 s\n";
        assert_eq!(table(&columns), expected);
        assert_eq!(faults(&columns), "6.1 v2 / task: refused\n");
        assert_eq!(faults(&columns[..1]), "");
    }
}
