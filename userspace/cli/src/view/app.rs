//! What the live view knows and how it changes: keys and answers in, rows out. It owns no terminal, clock or socket.

use std::time::{Duration, Instant};

use super::keys::{Action, Mode, Motion};
use super::tree::{self, Expansion, Id, Row, Sort};
use crate::model::{Status, Top};

/// The most characters of a filter.
const LONGEST_FILTER: usize = 200;

/// The state of the live view.
#[derive(Debug)]
pub struct App {
    /// Whom it asks.
    pub agent: String,
    /// How often it asks.
    pub interval: Duration,
    /// What it sorts by.
    pub sort: Sort,
    /// What it looks for.
    pub filter: String,
    /// What is open.
    pub expansion: Expansion,
    /// What the keys go to.
    pub mode: Mode,
    /// Whether the figures are frozen.
    pub paused: bool,
    /// The last answers.
    pub answer: Option<Answer>,
    /// When the last answer came, or when the waiting began.
    pub answered: Instant,
    /// When the agent was last seen to have measured anew.
    pub measured: Instant,
    /// Why there was no answer to the last question.
    pub trouble: Option<Trouble>,
    /// The selected row; `None` is whichever is first.
    selected: Option<Id>,
    /// Where the selected row was last seen.
    position: usize,
    /// The first row on the screen.
    offset: usize,
    /// Rows on a screen.
    page: usize,
}

/// What the agent answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// `GET /top`.
    pub top: Top,
    /// `GET /status`, if that was answered too.
    pub status: Option<Status>,
}

/// A question without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why, in a few words.
    pub cause: String,
    /// What was tried, why it failed and what to do.
    pub message: String,
}

impl App {
    /// Knows nothing yet; everything is open.
    pub fn new(agent: String, interval: Duration, sort: Sort, filter: String, now: Instant) -> Self {
        Self {
            agent,
            interval,
            sort,
            filter,
            expansion: Expansion::all(true),
            mode: Mode::Table,
            paused: false,
            answer: None,
            answered: now,
            measured: now,
            trouble: None,
            selected: None,
            position: 0,
            offset: 0,
            page: 1,
        }
    }

    /// Takes what came of a question; after a failure the last answer stays.
    pub fn take(&mut self, answer: Result<Answer, Trouble>, now: Instant) {
        match answer {
            Ok(answer) => {
                self.expansion.retain(&answer.top);
                if self.answer.as_ref().is_none_or(|last| last.top.time_ms != answer.top.time_ms) {
                    self.measured = now;
                }
                self.answer = Some(answer);
                self.answered = now;
                self.trouble = None;
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    /// Does what a key asks for; false means to leave.
    pub fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Quit => return false,
            Action::Back => return self.back(),
            Action::Move(motion) => self.go(motion),
            Action::Sort(sort) => self.sort = sort,
            Action::Open | Action::Close | Action::Toggle => self.fold(action),
            Action::OpenAll => self.expansion = Expansion::all(true),
            Action::CloseAll => self.close_all(),
            Action::Pause => self.paused = !self.paused,
            Action::Help => self.mode = Mode::Help,
            Action::Filter => self.mode = Mode::Filter,
            Action::Accept => self.mode = Mode::Table,
            Action::Type(c) => {
                if !c.is_control() && self.filter.chars().count() < LONGEST_FILTER {
                    self.filter.push(c);
                }
            }
            Action::Erase => drop(self.filter.pop()),
            Action::EraseAll => self.filter.clear(),
        }
        true
    }

    fn back(&mut self) -> bool {
        match self.mode {
            Mode::Help => self.mode = Mode::Table,
            Mode::Table if self.filter.is_empty() => return false,
            Mode::Table | Mode::Filter => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
        }
        true
    }

    /// All rows.
    pub fn rows(&self) -> Vec<Row<'_>> {
        match &self.answer {
            Some(answer) => tree::rows(&answer.top, self.sort, &self.filter, &self.expansion),
            None => Vec::new(),
        }
    }

    /// How long the agent has answered without measuring anew, if that is longer than it should be.
    ///
    /// Only the agent's clock is compared with itself: this machine's may differ.
    pub fn stalled(&self, now: Instant) -> Option<Duration> {
        let interval = self.answer.as_ref()?.top.interval_s.clamp(1.0, 3600.0);
        let waited = now.saturating_duration_since(self.measured);
        (!self.paused && waited > self.interval + Duration::from_secs_f64(3.0 * interval)).then_some(waited)
    }

    /// The first row of a screen of `page` rows that shows the selected one, and which is selected.
    ///
    /// A selected row that has gone passes the selection to the one in its place.
    pub fn scroll(&mut self, page: usize) -> (usize, usize) {
        let ids = self.ids();
        let last = ids.len().saturating_sub(1);
        self.page = page.max(1);
        self.position = match &self.selected {
            None => 0,
            Some(id) => ids.iter().position(|other| other == id).unwrap_or(self.position.min(last)),
        };
        if self.selected.is_some() {
            self.selected = ids.get(self.position).cloned();
        }
        let highest = (self.position + 1).saturating_sub(self.page);
        let fullest = ids.len().saturating_sub(self.page);
        self.offset = self.offset.min(fullest).clamp(highest, self.position);
        (self.offset, self.position)
    }

    fn ids(&self) -> Vec<Id> {
        self.rows().into_iter().map(|row| row.id).collect()
    }

    fn go(&mut self, motion: Motion) {
        self.scroll(self.page);
        let ids = self.ids();
        let to = match motion {
            Motion::Home => {
                self.selected = None;
                return;
            }
            Motion::Up => self.position.saturating_sub(1),
            Motion::Down => self.position + 1,
            Motion::PageUp => self.position.saturating_sub(self.page),
            Motion::PageDown => self.position + self.page,
            Motion::End => usize::MAX,
        };
        self.selected = ids.get(to.min(ids.len().saturating_sub(1))).cloned();
    }

    /// The selection goes to the row that hides it.
    fn close_all(&mut self) {
        self.scroll(self.page);
        if self.selected.is_some() {
            let rows = self.rows();
            let above = rows.iter().take(self.position + 1).rev().find(|row| row.depth == 0);
            self.selected = above.map(|row| row.id.clone());
        }
        self.expansion = Expansion::all(false);
    }

    fn fold(&mut self, action: Action) {
        self.scroll(self.page);
        let rows = self.rows();
        let Some(row) = rows.get(self.position) else { return };
        let id = row.id.clone();
        let open = match (action, row.open) {
            (Action::Close, None | Some(false)) => {
                let above = rows[..self.position].iter().rev().find(|other| other.depth < row.depth);
                self.selected = above.map(|row| row.id.clone()).or(Some(id));
                return;
            }
            (_, None) => return,
            (Action::Toggle, Some(open)) => !open,
            (action, Some(_)) => action == Action::Open,
        };
        self.expansion.set(&id, open);
        self.selected = Some(id);
    }
}

#[cfg(test)]
mod tests;
