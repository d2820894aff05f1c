//! `podscope-hub user …` and `podscope-hub token …`, on the database itself.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::{Error, Role, accounts, audit, name, now, password, tokens};
use crate::config::{TokenCommand, UserCommand};
use crate::store::Store;

/// Does what `command` says with users; what is to be shown.
///
/// # Errors
/// When it cannot be done; the message says why.
pub async fn user(store: &Store, command: &UserCommand) -> Result<String> {
    match command {
        UserCommand::Add { name: user, role } => {
            name(user)?;
            if *role == Role::Ingest {
                bail!("role ingest is for tokens: podscope-hub token add --name {user} --role ingest");
            }
            accounts::add(store, user, *role, &new_password(user)?).await?;
            note(store, "user added", &format!("{user} ({})", role.name())).await?;
            Ok(format!("{user} may log in with role {}\n", role.name()))
        }
        UserCommand::List => {
            let all = accounts::list(store).await?;
            let line = |one: &accounts::Account| format!("{}  {}  {}\n", day(one.created), one.role.name(), one.name);
            Ok(all.iter().map(line).collect())
        }
        UserCommand::Remove { name: user } => {
            accounts::remove(store, user).await?;
            note(store, "user removed", user).await?;
            Ok(format!("{user} is removed, and all sessions of it\n"))
        }
        UserCommand::Password { name: user } => {
            accounts::set_password(store, user, &new_password(user)?).await?;
            note(store, "password changed", user).await?;
            Ok(format!("{user} has a new password, and all sessions of it have ended\n"))
        }
    }
}

/// Does what `command` says with tokens; what is to be shown.
///
/// # Errors
/// When it cannot be done; the message says why.
pub async fn token(store: &Store, command: &TokenCommand) -> Result<String> {
    match command {
        TokenCommand::Add { name: token, role, expires } => {
            name(token)?;
            let expires = expires.map_or(0, |expires| now().saturating_add_unsigned(expires.as_secs()));
            let shown = tokens::add(store, token, *role, expires).await?;
            note(store, "token added", &format!("{token} ({})", role.name())).await?;
            Ok(format!("{shown}\n"))
        }
        TokenCommand::List => {
            let until = |expires| if expires == 0 { "never".to_owned() } else { day(expires) };
            let line = |one: &tokens::Token| {
                let (made, until) = (day(one.created), until(one.expires));
                format!("{}  made {made}  expires {until:10}  {:6}  {}\n", one.id, one.role.name(), one.name)
            };
            Ok(tokens::list(store).await?.iter().map(line).collect())
        }
        TokenCommand::Remove { name: token } => {
            tokens::remove(store, token).await?;
            note(store, "token removed", token).await?;
            Ok(format!("{token} is removed\n"))
        }
    }
}

async fn note(store: &Store, what: &str, detail: &str) -> Result<(), Error> {
    let who = format!("uid {}", rustix::process::getuid().as_raw());
    audit::note(store, &who, "command line", what, detail).await
}

fn day(seconds: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    humantime::format_rfc3339_seconds(time).to_string().chars().take(10).collect()
}

/// Asks for a password, twice where a person types it; what is kept of it.
fn new_password(user: &str) -> Result<String> {
    let typed = if std::io::stdin().is_terminal() {
        let typed = prompt(&format!("Password of {user}: "))?;
        if prompt("The same again: ")? != typed {
            bail!("the two passwords differ");
        }
        typed
    } else {
        line()?
    };
    password::check(user, &typed)?;
    Ok(password::hash(&typed)?)
}

fn line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read a password from standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a line that the terminal does not show.
fn prompt(text: &str) -> Result<String> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    let shown = tcgetattr(&stdin).context("cannot ask the terminal for its modes")?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    write!(stderr, "{text}").context("cannot write to the terminal")?;
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).context("cannot hide what is typed")?;
    let typed = line();
    tcsetattr(&stdin, OptionalActions::Flush, &shown).context("cannot show again what is typed")?;
    writeln!(stderr).context("cannot write to the terminal")?;
    typed
}
