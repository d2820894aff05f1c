//! Keeps the node's object. It is asked for now and then: a watch would send all its heartbeats and images.

use std::convert::Infallible;
use std::time::Duration;

use podscope_cluster::{Error, jittered};
use tokio::time::sleep;

use super::NodeFacts;
use super::session::Session;

/// Between two questions, about.
const EVERY: Duration = Duration::from_secs(300);

pub(super) async fn keep(mut session: Session, node: String) {
    loop {
        let Err(error) = ask(&mut session, &node).await;
        session.fails(&error).await;
    }
}

async fn ask(session: &mut Session, node: &str) -> Result<Infallible, Error> {
    loop {
        let client = session.connect()?;
        session.shared.set_node(NodeFacts::of(&podscope_cluster::node(&client, node).await?));
        session.works();
        session.compare_clocks(&client);
        sleep(jittered(EVERY)).await;
    }
}
