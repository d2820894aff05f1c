//! `podscope status`: what the agent measures, what it misses and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::args;
use crate::client::Client;
use crate::model::{Part, Status};
use crate::once::{print, raw};
use crate::text::{Text, counted, span};

/// Exit status when the agent has measured nothing yet.
const NOT_READY: u8 = 1;
/// Exit status when something is absent and `--check` was given.
const INCOMPLETE: u8 = 3;

/// Asks, prints, and says by the exit status how it is.
pub async fn run(client: &Client, options: &args::Status) -> anyhow::Result<u8> {
    let answer = client.status_raw().await?;
    let status: Status = client.parse("/status", &answer)?;
    print(&if options.json { raw(client, "/status", &answer)? } else { page(&status) })?;
    Ok(match status.collections {
        0 => NOT_READY,
        _ if options.check && status.absent().next().is_some() => INCOMPLETE,
        _ => 0,
    })
}

/// The status for people.
pub fn page(status: &Status) -> String {
    let mut page = String::new();
    let mut line = |label: &str, text: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{label:<13} {text}");
    };
    line("agent", &format!("podscope-agent {}, up {}", status.version, span(status.uptime_s)));
    line("node", &format!("{}, Linux {}", status.node, status.kernel));
    line("measured", &measured(status));
    if let Some(note) = &status.namespace_note {
        line("note", note);
    }
    let absent: Vec<&str> = status.scheduling_detail.absent.iter().map(|name| &**name).collect();
    if !absent.is_empty() {
        line("detail", &format!("of scheduling is switched off: no {}", absent.join(", ")));
    }
    for (label, parts) in [("probes", &status.probes), ("sources", &status.sources)] {
        let up: Vec<&str> = parts.iter().filter(|part| &*part.state == "up").map(|part| &*part.name).collect();
        line(label, &if up.is_empty() { "none up".into() } else { format!("up: {}", up.join(", ")) });
        for part in parts.iter().filter(|part| &*part.state != "up") {
            line("", &missing(part));
        }
    }
    let counted = [("unattributed", &status.unattributed), ("lost", &status.losses), ("dropped", &status.dropped)];
    for (label, counts) in counted {
        if let Some(text) = nonzero(counts) {
            line(label, &text);
        }
    }
    if let Some(export) = status.export {
        let parts = [("rejected", export.rejected), ("failed", export.failed), ("dropped", export.dropped)];
        let trouble = parts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!(", {count} {what}"));
        line("export", &format!("{} sent{}", export.sent, trouble.collect::<String>()));
    } else {
        line("export", "off; Prometheus may fetch /metrics");
    }
    let capabilities: Vec<&str> = status.capabilities.iter().map(|name| &**name).collect();
    line("capabilities", &if capabilities.is_empty() { "none".into() } else { capabilities.join(", ") });
    page
}

fn measured(status: &Status) -> String {
    if status.collections == 0 {
        return "nothing yet; the first collection is still to come".into();
    }
    format!(
        "{} in {}; {}, every {}, the last in {}",
        counted(status.processes, "process"),
        counted(status.containers, "container"),
        counted(status.collections, "collection"),
        span(status.interval_s),
        span(status.last_collection_ms / 1000.0),
    )
}

fn missing(part: &Part) -> String {
    match &part.reason {
        Some(reason) => format!("{} is {}: {reason}", part.name, part.state),
        None => format!("{} is {}", part.name, part.state),
    }
}

fn nonzero(counts: &BTreeMap<Text, u64>) -> Option<String> {
    let counts: Vec<String> =
        counts.iter().filter(|(_, count)| **count > 0).map(|(what, count)| format!("{what} {count}")).collect();
    (!counts.is_empty()).then(|| counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_without_scheduling_detail_is_named() {
        let of = |detail: &str| {
            let status: Status = serde_json::from_str(&format!("{{\"scheduling_detail\": {detail}}}")).unwrap();
            page(&status)
        };
        let said = of(r#"{"on": false, "absent": ["podscope.process.blocked.time"]}"#);
        assert!(
            said.contains("detail        of scheduling is switched off: no podscope.process.blocked.time"),
            "{said}"
        );
        assert!(!of(r#"{"on": true, "absent": []}"#).contains("detail"));
    }
}
