use std::time::Duration;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::super::app::Trouble;
use super::super::keys::{Action, Motion};
use super::super::tree::{Expansion, Sort};
use super::*;

const SAMPLE: &str = include_str!("../../../testdata/top.json");
const HOSTILE: &str = include_str!("../../../testdata/hostile.json");
const STATUS: &str = include_str!("../../../testdata/status.json");

fn app(top: &str, start: Instant) -> App {
    let mut app = App::new("http://127.0.0.1:9435".into(), Duration::from_secs(2), Sort::Cpu, String::new(), start);
    let answer = Answer { top: serde_json::from_str(top).unwrap(), status: serde_json::from_str(STATUS).ok() };
    app.take(Ok(answer), start);
    app
}

fn screen(app: &mut App, width: u16, height: u16, now: Instant) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let palette = Palette { colours: true };
    terminal.draw(|frame| draw(frame, app, palette, now)).unwrap();
    terminal.backend().buffer().clone()
}

fn text_of(buffer: &Buffer) -> String {
    let lines = buffer.content.chunks(buffer.area.width.into()).map(|line| {
        let mut text = String::new();
        let mut covered = 0;
        for cell in line {
            if covered == 0 {
                text.push_str(cell.symbol());
                covered = text::width(cell.symbol()).max(1);
            }
            covered -= 1;
        }
        text.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn shown(app: &mut App, width: u16, height: u16) -> String {
    let now = app.answered;
    text_of(&screen(app, width, height, now))
}

fn trouble() -> Trouble {
    Trouble { cause: "Connection refused (os error 111)".into(), message: "is podscope-agent running there?".into() }
}

#[test]
fn at_80_by_24() {
    let mut app = app(SAMPLE, Instant::now());
    insta::assert_snapshot!(shown(&mut app, 80, 24));
}

#[test]
fn at_160_by_50() {
    let mut app = app(SAMPLE, Instant::now());
    app.act(Action::Sort(Sort::Wait));
    insta::assert_snapshot!(shown(&mut app, 160, 50));
}

#[test]
fn hostile_names_at_80_by_24() {
    let mut app = app(HOSTILE, Instant::now());
    insta::assert_snapshot!(shown(&mut app, 80, 24));
}

#[test]
fn the_keys_at_80_by_24() {
    let mut app = app(SAMPLE, Instant::now());
    app.act(Action::Help);
    insta::assert_snapshot!(shown(&mut app, 80, 24));
}

#[test]
fn a_silent_agent_greys_what_it_said_last() {
    let start = Instant::now();
    let mut app = app(SAMPLE, start);
    app.take(Err(trouble()), start);
    let buffer = screen(&mut app, 120, 24, start + Duration::from_secs(12));
    let text = text_of(&buffer);
    assert!(text.contains("no answer since 12 s: Connection refused (os error 111)"), "{text}");
    assert!(text.contains("http://127.0.0.1:9435, asked every 2s"), "{text}");
    assert_eq!((buffer[(6, 5)].symbol(), buffer[(6, 5)].fg), ("n", Color::DarkGray));
}

#[test]
fn without_colours_there_are_none() {
    let start = Instant::now();
    let mut app = app(SAMPLE, start);
    app.take(Err(trouble()), start);
    let mut terminal = Terminal::new(TestBackend::new(200, 50)).unwrap();
    terminal.draw(|frame| draw(frame, &mut app, Palette { colours: false }, start)).unwrap();
    let buffer = terminal.backend().buffer();
    assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    assert!(buffer.content.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)));
}

#[test]
fn the_filter_is_written_in_the_last_line() {
    let mut app = app(SAMPLE, Instant::now());
    app.act(Action::Filter);
    "nope".chars().for_each(|c| assert!(app.act(Action::Type(c))));
    let text = shown(&mut app, 80, 24);
    assert!(text.contains("nothing has \"nope\" in its name"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("/nope"), "{text}");
}

#[test]
fn nothing_yet() {
    let start = Instant::now();
    let mut app = App::new("http://x:1".into(), Duration::from_secs(2), Sort::Cpu, String::new(), start);
    assert!(text_of(&screen(&mut app, 80, 24, start)).contains("asking http://x:1"));
    app.take(Err(trouble()), start);
    assert!(text_of(&screen(&mut app, 80, 24, start)).contains("is podscope-agent running there?"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_size_shows_any_names(
        width in 0_u16..220,
        height in 0_u16..60,
        hostile in any::<bool>(),
        downs in 0_usize..40,
        help in any::<bool>(),
        filter in "\\PC{0,3}",
        open in any::<bool>(),
    ) {
        let mut app = app(if hostile { HOSTILE } else { SAMPLE }, Instant::now());
        app.filter = filter;
        app.expansion = Expansion::all(open);
        for _ in 0..downs {
            app.act(Action::Move(Motion::Down));
        }
        if help {
            app.act(Action::Help);
        }
        let now = app.answered;
        let buffer = screen(&mut app, width, height, now);
        let harmless = |c: char| !c.is_control() && c != '\u{202e}';
        prop_assert!(buffer.content.iter().all(|cell| cell.symbol().chars().all(harmless)));
    }
}
