use super::*;

fn app() -> App {
    let now = Instant::now();
    let mut app = App::new("http://x".into(), Duration::from_secs(2), Sort::Cpu, String::new(), now);
    app.take(Ok(sample()), now);
    app
}

fn sample() -> Answer {
    let top = serde_json::from_str(include_str!("../../../testdata/top.json")).unwrap();
    Answer { top, status: None }
}

fn act(app: &mut App, actions: &[Action]) {
    for &action in actions {
        assert!(app.act(action), "{action:?} left");
        app.scroll(10);
    }
}

fn selected(app: &mut App) -> String {
    let (_, position) = app.scroll(10);
    app.rows()[position].id.clone()
}

#[test]
fn the_selection_stays_with_its_row() {
    let mut app = app();
    act(&mut app, &[Action::Move(Motion::Down), Action::Move(Motion::Down)]);
    let id = selected(&mut app);
    act(&mut app, &[Action::Sort(Sort::Memory)]);
    assert_eq!(selected(&mut app), id);
    let mut other = sample();
    other.top.containers.reverse();
    other.top.containers[0].totals.memory_bytes = 1 << 50;
    app.take(Ok(other), Instant::now());
    assert_eq!(selected(&mut app), id);
}

#[test]
fn nothing_selected_is_the_first_row_whichever_that_is() {
    let mut app = app();
    let first = selected(&mut app);
    act(&mut app, &[Action::Sort(Sort::Memory)]);
    assert_ne!(selected(&mut app), first);
    act(&mut app, &[Action::Move(Motion::End), Action::Move(Motion::Home), Action::Sort(Sort::Cpu)]);
    assert_eq!(selected(&mut app), first);
}

#[test]
fn a_row_that_is_gone_passes_the_selection_on() {
    let mut app = app();
    act(&mut app, &[Action::Move(Motion::End)]);
    let mut fewer = sample();
    fewer.top.containers.truncate(1);
    app.take(Ok(fewer), Instant::now());
    let (_, position) = app.scroll(10);
    assert_eq!(position, app.rows().len() - 1);
    app.take(Ok(Answer::default()), Instant::now());
    assert_eq!(app.scroll(10), (0, 0));
    act(&mut app, &[Action::Move(Motion::Down), Action::Toggle, Action::Close, Action::Move(Motion::PageUp)]);
}

#[test]
fn the_selection_is_always_on_the_screen() {
    let mut app = app();
    let count = app.rows().len();
    for motion in [Motion::Down, Motion::PageDown, Motion::End, Motion::PageUp, Motion::Up, Motion::Home] {
        for _ in 0..=count {
            app.act(Action::Move(motion));
            let (offset, position) = app.scroll(5);
            assert!((offset..offset + 5).contains(&position), "{motion:?}: {position} from {offset}");
            assert!(offset + 5 <= count, "the last screen is full");
        }
    }
}

#[test]
fn left_closes_then_climbs_and_right_opens() {
    let mut app = app();
    let open = app.rows().len();
    // Down to the first process of the first container, then up to its container and pod.
    act(&mut app, &[Action::Move(Motion::Down), Action::Move(Motion::Down), Action::Close]);
    assert_eq!(app.scroll(10).1, 1);
    act(&mut app, &[Action::Close]);
    assert_eq!((app.scroll(10).1, app.rows().len()), (1, open - 4));
    act(&mut app, &[Action::Close]);
    assert_eq!(app.scroll(10).1, 0);
    act(&mut app, &[Action::Move(Motion::Down), Action::Open]);
    assert_eq!(app.rows().len(), open);
    act(&mut app, &[Action::Move(Motion::Down), Action::CloseAll]);
    assert_eq!((app.scroll(10).1, app.rows().len()), (0, 6));
    act(&mut app, &[Action::OpenAll]);
    assert_eq!(app.rows().len(), open);
}

#[test]
fn escape_leaves_the_last_thing_entered() {
    let mut app = app();
    let typed = "qemu-s".chars().map(Action::Type);
    act(&mut app, &[Action::Filter]);
    act(&mut app, &typed.collect::<Vec<_>>());
    assert_eq!(app.rows().len(), 5);
    act(&mut app, &[Action::Accept, Action::Help]);
    act(&mut app, &[Action::Back]);
    assert_eq!((app.mode, &*app.filter), (Mode::Table, "qemu-s"));
    act(&mut app, &[Action::Back]);
    assert_eq!(app.filter, "");
    assert!(!app.act(Action::Back));
}

#[test]
fn a_failure_keeps_the_last_answer() {
    let mut app = app();
    let rows = app.rows().len();
    let answered = app.answered;
    let trouble = Trouble { cause: "Connection refused".into(), message: String::new() };
    app.take(Err(trouble), Instant::now() + Duration::from_secs(9));
    assert_eq!((app.rows().len(), app.answered, app.trouble.is_some()), (rows, answered, true));
    app.take(Ok(sample()), Instant::now());
    assert_eq!(app.trouble, None);
}

#[test]
fn an_agent_that_repeats_itself_is_noticed() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut app = App::new("http://x".into(), Duration::from_secs(2), Sort::Cpu, String::new(), start);
    app.take(Ok(sample()), start);
    app.take(Ok(sample()), after(16));
    assert_eq!(app.stalled(after(17)), None, "three intervals of 5 s and one question may pass");
    assert_eq!(app.stalled(after(18)), Some(Duration::from_secs(18)));
    let mut next = sample();
    next.top.time_ms += 5000;
    app.take(Ok(next), after(18));
    assert_eq!(app.stalled(after(19)), None);
}
