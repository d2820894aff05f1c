//! The live view on the screen.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Padding, Paragraph, Row as TableRow, Table, Wrap};

use super::app::{Answer, App};
use super::columns::{Column, Widths, widths};
use super::keys::Mode;
use super::tree::{Node, Row, pod_count};
use crate::text;

/// Waiting this many cores' worth is worth a look.
const STARVED: f64 = 0.1;

/// Colours, or only bold, dim and reversed.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// Whether colours may be used.
    pub colours: bool,
}

impl Palette {
    /// Colours unless the environment has a non-empty `NO_COLOR` (no-color.org).
    pub fn from_env() -> Self {
        Self { colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn trouble(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn notice(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    fn stale(self) -> Style {
        if self.colours { self.colour(Color::DarkGray) } else { self.faint() }
    }

    fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, app: &mut App, palette: Palette, now: Instant) {
    let [head, state, table, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(head_line(app), head);
    frame.render_widget(state_line(app, palette, now), state);
    let place = draw_table(frame, app, palette, table);
    let keys = foot_line(app, palette);
    if keys.width() + place.width() < usize::from(foot.width) {
        frame.render_widget(place.right_aligned(), foot);
    }
    frame.render_widget(keys, foot);
    if app.mode == Mode::Help {
        draw_help(frame);
    }
}

fn head_line(app: &App) -> Line<'static> {
    let mut spans = vec![Span::styled("podscope", BOLD)];
    if let Some(Answer { top, status }) = &app.answer {
        let containers = top.containers.len() as u64 + top.truncated;
        let cores: f64 = top.containers.iter().map(|c| c.totals.cpu_cores).sum();
        let listed = top.containers.iter().map(|c| c.processes.len() as u64).sum();
        let processes = status.as_ref().map_or(listed, |status| status.processes.max(listed));
        spans.push(format!("  {}", text::fit(&top.node, 30)).into());
        spans.push("  CPU ".into());
        spans.push(Span::styled(format!("{} cores", text::cores(cores)), BOLD));
        for part in [
            text::counted(pod_count(top) as u64, "pod"),
            text::counted(containers, "container"),
            text::counted(processes, "process"),
        ] {
            spans.push(format!("  {part}").into());
        }
    }
    Line::from(spans)
}

fn state_line(app: &App, palette: Palette, now: Instant) -> Line<'static> {
    let every = format!("every {}", text::span(app.interval.as_secs_f64()));
    if let Some(trouble) = &app.trouble {
        let silence = now.saturating_duration_since(app.answered).as_secs();
        let what = Span::styled(format!("no answer since {silence} s: {}", trouble.cause), palette.trouble());
        return Line::from(vec![what, format!("  {}, asked {every}", app.agent).into()]);
    }
    let Some(Answer { top, status }) = &app.answer else { return format!("asking {}", app.agent).into() };
    let mut spans = vec![match app.paused {
        true => Span::styled("paused", palette.notice()),
        false => format!("live, {every}").into(),
    }];
    spans.push(format!("  {} UTC, over {}", text::clock(top.time_ms), text::span(top.interval_s)).into());
    let mut notices = Vec::new();
    if let Some(stalled) = app.stalled(now) {
        notices.push(format!("measured nothing new since {} s", stalled.as_secs()));
    }
    if let Some(status) = status {
        spans.push(format!("  agent took {}", text::span(status.last_collection_ms / 1000.0)).into());
        notices.extend(
            Some(status.absent().count() as u64).filter(|n| *n > 0).map(|n| text::counted(n, "part") + " absent"),
        );
    }
    if top.truncated > 0 {
        notices.push(text::counted(top.truncated, "container") + " left out");
    }
    spans.extend(notices.into_iter().map(|notice| Span::styled(format!("  {notice}"), palette.notice())));
    Line::from(spans)
}

/// Draws the table and gives the place of the selected row among all.
fn draw_table(frame: &mut Frame<'_>, app: &mut App, palette: Palette, area: Rect) -> Line<'static> {
    let page = usize::from(area.height.saturating_sub(1));
    let (offset, position) = app.scroll(page);
    let widths = widths(area.width, app.sort);
    let rows = app.rows();
    let shown = rows.iter().enumerate().skip(offset).take(page).map(|(index, row)| {
        let style = if index == position { SELECTED } else { Style::new() };
        table_row(row, &widths, palette).style(style)
    });
    let mut constraints = vec![Constraint::Length(widths.name)];
    constraints.extend(widths.figures.iter().map(|column| Constraint::Length(column.width())));
    constraints.push(Constraint::Length(widths.detail));
    let mut table = Table::new(shown, constraints).header(header(app, &widths)).column_spacing(1);
    if app.trouble.is_some() {
        table = table.style(palette.stale());
    }
    frame.render_widget(table, area);
    if rows.is_empty() {
        let room = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
        frame.render_widget(Paragraph::new(why_empty(app)).wrap(Wrap::default()), room.intersection(area));
        return Line::default();
    }
    Line::styled(format!("{}/{}", position + 1, rows.len()), palette.faint())
}

fn why_empty(app: &App) -> String {
    match (&app.answer, &app.trouble) {
        (None, Some(trouble)) => trouble.message.clone(),
        (None, None) => String::new(),
        (Some(_), _) if app.filter.is_empty() => "no containers".into(),
        (Some(_), _) => format!("nothing has \"{}\" in its name", app.filter),
    }
}

/// The headings; the letter that sorts by a column is underlined, the column that is sorted by is reversed.
fn header(app: &App, widths: &Widths) -> TableRow<'static> {
    let mut cells = vec![Cell::from(Span::styled("POD, CONTAINER, PROCESS", BOLD))];
    cells.extend(widths.figures.iter().map(|&column| {
        let title = column.title();
        let Some(sort) = column.sort() else { return Cell::from(Line::styled(title, BOLD).right_aligned()) };
        let (mark, style) = if sort == app.sort { ("▼", BOLD.patch(SELECTED)) } else { ("", BOLD) };
        let (key, rest) = title.split_at(1);
        let key = Span::styled(key, style.add_modifier(Modifier::UNDERLINED));
        Cell::from(Line::from(vec![Span::styled(mark, style), key, Span::styled(rest, style)]).right_aligned())
    }));
    if widths.detail > 0 {
        cells.push(Cell::from(Span::styled(" IMAGE, VM, NAME", BOLD)));
    }
    TableRow::new(cells)
}

fn table_row(row: &Row<'_>, widths: &Widths, palette: Palette) -> TableRow<'static> {
    let mut cells = vec![Cell::from(name(row, usize::from(widths.name), palette))];
    cells.extend(widths.figures.iter().map(|&column| {
        let text = column.text(row);
        let style = match column {
            _ if text == "0" => palette.faint(),
            Column::Wait if row.totals.wait_cores >= STARVED => palette.colour(Color::Yellow),
            _ => weight(row, palette),
        };
        Cell::from(Line::styled(text, style).right_aligned())
    }));
    if widths.detail > 0 {
        let detail = text::fit(&format!(" {}", detail(row)), usize::from(widths.detail));
        cells.push(Cell::from(Span::styled(detail, palette.faint())));
    }
    TableRow::new(cells)
}

fn name(row: &Row<'_>, width: usize, palette: Palette) -> Line<'static> {
    let fold = match row.open {
        Some(true) => "▾ ",
        Some(false) => "▸ ",
        None => "  ",
    };
    let indent = format!("{}{fold}", "  ".repeat(usize::from(row.depth)));
    let (machine, name) = match row.node {
        Node::Pod(container) => (container.vm.is_some(), container.pod_name().unwrap_or_default()),
        Node::Container(container) => (container.vm.is_some(), container.name().to_owned()),
        Node::Process(process) => (false, process.name().to_owned()),
        Node::Vcpu(vcpu) => (false, format!("vCPU {}", vcpu.id)),
        Node::Other => (false, "(others)".into()),
    };
    let machine = if machine { "VM " } else { "" };
    let name = text::fit(&name, width.saturating_sub(text::width(&indent) + machine.len()));
    Line::from(vec![
        Span::raw(indent),
        Span::styled(machine, palette.colour(Color::Cyan)),
        Span::styled(name, weight(row, palette)),
    ])
}

fn weight(row: &Row<'_>, palette: Palette) -> Style {
    match row.node {
        _ if row.depth == 0 => BOLD,
        Node::Other | Node::Vcpu(_) => palette.faint(),
        Node::Pod(_) | Node::Container(_) | Node::Process(_) => Style::new(),
    }
}

fn detail(row: &Row<'_>) -> String {
    match row.node {
        Node::Pod(container) => container.vm.as_ref().map(|vm| format!("VM {vm}")).unwrap_or_default(),
        Node::Container(container) => container.image.as_deref().unwrap_or_default().to_owned(),
        Node::Process(process) if process.role.is_some() => process.role.as_deref().unwrap_or_default().to_owned(),
        // The kernel cuts the name at 15 bytes, so most often it says nothing new.
        Node::Process(process) if process.name().starts_with(&*process.comm) => String::new(),
        Node::Process(process) => process.comm.to_string(),
        Node::Vcpu(_) => "WAIT: ready, but without a CPU".into(),
        Node::Other => "beyond those listed, and ended ones".into(),
    }
}

fn foot_line(app: &App, palette: Palette) -> Line<'static> {
    if app.mode == Mode::Filter {
        let cursor = Span::styled(" ", SELECTED);
        let hint = Span::styled("  Enter keeps it, Esc clears it", palette.faint());
        return Line::from(vec![Span::styled("/", BOLD), app.filter.clone().into(), cursor, hint]);
    }
    let mut spans = Vec::new();
    if !app.filter.is_empty() {
        spans.push(Span::styled(format!("/{}", text::fit(&app.filter, 30)), palette.notice()));
        spans.push(" (Esc clears)  ".into());
    }
    for (key, what) in [
        ("↑↓", "move"),
        ("←→", "fold"),
        ("c w m f", "sort"),
        ("/", "filter"),
        ("p", if app.paused { "go on" } else { "pause" }),
        ("?", "help"),
        ("q", "quit"),
    ] {
        spans.push(Span::styled(key, BOLD));
        spans.push(Span::styled(format!(" {what}  "), palette.faint()));
    }
    Line::from(spans)
}

const HELP: &str = "\
↑ ↓ j k         move             → ←   open, close
PgUp PgDn       a screen         Enter open or close
Home End        first, last      e E   open, close all

c  by CPU       CPU time per second: 1.25 or 340m cores
w  by WAIT      time runnable but waiting for a CPU
m  by MEM       resident memory
f  by FAULTS/s  page faults per second

/  filter       namespace, pod, container, executable, VM
p  or Space     pause            ?     this page
q  or Ctrl-C    quit             Esc   back, then quit

BLOCKED   time in uninterruptible sleep, as cores
PEAK      the largest resident memory so far
(others)  processes beyond those listed, and ended ones
VM        a KubeVirt virtual machine";

fn draw_help(frame: &mut Frame<'_>) {
    let height = HELP.lines().count() as u16 + 2;
    let area = frame.area().centered(Constraint::Length(62), Constraint::Length(height));
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" podscope top: keys ").title_bottom(" any key closes ");
    frame.render_widget(Paragraph::new(HELP).block(block.padding(Padding::horizontal(1))), area);
}

#[cfg(test)]
mod tests;
