//! Which key means what.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::tree::Sort;

/// What the keys go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The table.
    #[default]
    Table,
    /// The line in which the filter is written.
    Filter,
    /// The page of keys.
    Help,
}

/// A movement of the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// One screen up.
    PageUp,
    /// One screen down.
    PageDown,
    /// To the first row, whatever that will be.
    Home,
    /// To the last row.
    End,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave.
    Quit,
    /// Leave what was entered last: help, filter, program.
    Back,
    /// Move the selection.
    Move(Motion),
    /// Sort otherwise.
    Sort(Sort),
    /// Show what is under the selected row.
    Open,
    /// Hide what is under the selected row, or go to the one above it.
    Close,
    /// The one or the other.
    Toggle,
    /// Show everything.
    OpenAll,
    /// Show the outermost rows only.
    CloseAll,
    /// Freeze the figures, or let them go on.
    Pause,
    /// Show the keys.
    Help,
    /// Write the filter.
    Filter,
    /// Add a character to the filter.
    Type(char),
    /// Take the filter's last character away.
    Erase,
    /// Empty the filter.
    EraseAll,
    /// Keep the filter and go back to the table.
    Accept,
}

/// What a key means.
pub fn action(key: KeyEvent, mode: Mode) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match (key.code, mode) {
        (KeyCode::Char('c'), _) if ctrl => Some(Action::Quit),
        (KeyCode::Esc, _) | (_, Mode::Help) => Some(Action::Back),
        (code, Mode::Filter) => filter(code, ctrl),
        (code, Mode::Table) if !ctrl => table(code),
        _ => None,
    }
}

fn filter(code: KeyCode, ctrl: bool) -> Option<Action> {
    match code {
        KeyCode::Char('u') if ctrl => Some(Action::EraseAll),
        KeyCode::Char('h') if ctrl => Some(Action::Erase),
        KeyCode::Char(c) if !ctrl => Some(Action::Type(c)),
        KeyCode::Backspace => Some(Action::Erase),
        KeyCode::Enter => Some(Action::Accept),
        KeyCode::Up => Some(Action::Move(Motion::Up)),
        KeyCode::Down => Some(Action::Move(Motion::Down)),
        _ => None,
    }
}

fn table(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Up | KeyCode::Char('k') => Action::Move(Motion::Up),
        KeyCode::Down | KeyCode::Char('j') => Action::Move(Motion::Down),
        KeyCode::PageUp => Action::Move(Motion::PageUp),
        KeyCode::PageDown => Action::Move(Motion::PageDown),
        KeyCode::Home => Action::Move(Motion::Home),
        KeyCode::End => Action::Move(Motion::End),
        KeyCode::Right => Action::Open,
        KeyCode::Left => Action::Close,
        KeyCode::Enter => Action::Toggle,
        KeyCode::Char('e') => Action::OpenAll,
        KeyCode::Char('E') => Action::CloseAll,
        KeyCode::Char('c') => Action::Sort(Sort::Cpu),
        KeyCode::Char('w') => Action::Sort(Sort::Wait),
        KeyCode::Char('m') => Action::Sort(Sort::Memory),
        KeyCode::Char('f') => Action::Sort(Sort::Faults),
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Char('p' | ' ') => Action::Pause,
        KeyCode::Char('?') => Action::Help,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_c_leaves_from_everywhere() {
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for mode in [Mode::Table, Mode::Filter, Mode::Help] {
            assert_eq!(action(key, mode), Some(Action::Quit));
        }
    }

    #[test]
    fn letters_are_text_while_the_filter_is_written() {
        let key = KeyEvent::from(KeyCode::Char('q'));
        assert_eq!(action(key, Mode::Filter), Some(Action::Type('q')));
        assert_eq!(action(key, Mode::Table), Some(Action::Quit));
        assert_eq!(action(key, Mode::Help), Some(Action::Back));
    }

    #[test]
    fn a_released_key_means_nothing() {
        let key = KeyEvent::new_with_kind(KeyCode::Down, KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(action(key, Mode::Table), None);
    }
}
