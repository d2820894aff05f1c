//! `podscope top`, live.

pub mod app;
pub mod columns;
pub mod draw;
pub mod keys;
pub mod tree;

use std::io;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use self::app::{Answer, App, Trouble};
use self::draw::Palette;
use crate::args;
use crate::client::{self, Client};

/// Shows the live table until it is left by a key or a signal.
pub async fn run(client: Client, options: args::Top) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let mut screen = Screen::open().context("cannot use this terminal; `podscope top --once` prints a table")?;
    let mut events = listen();
    let (asked, mut answers) = mpsc::channel(1);
    let mut ask = interval(options.interval);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut second = interval(Duration::from_secs(1));
    let mut waiting = false;
    let agent = client.agent().to_string();
    let mut app = App::new(agent, options.interval, options.sort, options.filter, Instant::now());
    let palette = Palette::from_env();
    let mut batch = Vec::new();
    loop {
        screen.0.draw(|frame| draw::draw(frame, &mut app, palette, Instant::now())).context("cannot draw")?;
        tokio::select! {
            count = events.recv_many(&mut batch, 64) => {
                let was_paused = app.paused;
                let mut leave = count == 0;
                for event in batch.drain(..) {
                    leave |= !obey(&mut app, &event.context("cannot read the keys of this terminal")?);
                }
                if leave {
                    return Ok(());
                }
                if was_paused && !app.paused {
                    ask.reset_immediately();
                }
            }
            () = signals.any() => return Ok(()),
            Some(answer) = answers.recv() => {
                waiting = false;
                // What was on its way when the figures were frozen would move them once more.
                if !app.paused {
                    app.take(answer, Instant::now());
                }
            }
            _ = ask.tick(), if !waiting && !app.paused => {
                waiting = true;
                tokio::spawn(question(client.clone(), options.processes, asked.clone()));
            }
            _ = second.tick() => {}
        }
    }
}

/// Lets a key work; false means to leave. Other events only redraw.
fn obey(app: &mut App, event: &Event) -> bool {
    let action = match event {
        Event::Key(key) => keys::action(*key, app.mode),
        _ => None,
    };
    action.is_none_or(|action| app.act(action))
}

async fn question(client: Client, processes: u32, asked: mpsc::Sender<Result<Answer, Trouble>>) {
    let (top, status) = tokio::join!(client.top(processes), client.status());
    let trouble = |error: client::Error| Trouble { cause: error.cause.to_string(), message: error.to_string() };
    let answer = top.map(|top| Answer { top, status: status.ok() }).map_err(trouble);
    // Nobody listens any more once the view has been left.
    let _ = asked.send(answer).await;
}

/// The terminal's events, until they cannot be read any more. Reading them blocks, hence the thread.
fn listen() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if sender.blocking_send(event).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// The terminal in raw mode; given back when dropped, and by the library's panic hook.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone, and then there is nobody to tell.
        let _ = ratatui::try_restore();
        let _ = self.0.show_cursor();
    }
}

/// The signals that end a program.
struct Signals([Signal; 4]);

impl Signals {
    fn new() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        let [a, b, c, d] = kinds.map(signal);
        Ok(Self([a?, b?, c?, d?]))
    }

    async fn any(&mut self) {
        let [a, b, c, d] = &mut self.0;
        tokio::select! { _ = a.recv() => {}, _ = b.recv() => {}, _ = c.recv() => {}, _ = d.recv() => {} }
    }
}
