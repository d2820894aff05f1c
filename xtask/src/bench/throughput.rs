//! 100,000 points encoded and sent over OTLP to a receiver on this host.

use anyhow::{Context, Result};
use serde_json::Value;

use super::lab::Lab;
use super::receiver::Receiver;
use super::row::{Row, Target, Unit};
use crate::cmd;

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    let receiver = Receiver::start()?;
    let said = cmd::output(&mut cmd::command(lab.program("examples/otlp_cost"), [receiver.url()]))?;
    let costs: Value = serde_json::from_str(&said).context("otlp_cost printed no JSON")?;
    let of = |name: &str| costs[name].as_f64().with_context(|| format!("otlp_cost does not say {name}"));
    let points = of("points")?;
    let allocations = |name: &str| -> Result<String> {
        let (count, bytes) = (of(&format!("{name}_allocations"))?, of(&format!("{name}_allocated"))?);
        Ok(format!("{count} allocations of {} in all", Unit::Bytes.show(bytes)))
    };
    let plain = Row::new(format!("encode {points} points, OTLP"), Unit::Seconds, of("encode_seconds")?)
        .target(Target::at_most(40e-3))
        .note(format!(
            "{} in {} requests, {}; {} where no resource was encoded before",
            Unit::Bytes.show(of("encode_bytes")?),
            of("requests")?,
            allocations("encode")?,
            Unit::Seconds.show(of("first_seconds")?)
        ));
    let whole = Row::new(format!("encode, gzip and send {points} points"), Unit::Seconds, of("send_seconds")?)
        .target(Target::at_most(70e-3))
        .note(format!("{} on the wire, {}", Unit::Bytes.show(of("send_bytes")?), allocations("send")?));
    Ok(vec![plain, whole])
}
