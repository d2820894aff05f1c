//! Puts it all together.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use tokio::net::TcpListener;

use crate::api;
use crate::config::Serve;
use crate::ingest::{self, Queue, now_ms};
use crate::store::{self, Roller, Store, Writer};
use crate::web;

/// How often levels are made and expired points dropped.
const UPKEEP: Duration = Duration::from_secs(10);
/// Of these times, how seldom series are looked for that nothing is left of.
const SELDOM: u64 = 180;

/// A hub that listens.
#[derive(Debug)]
pub struct Hub {
    listener: TcpListener,
    app: Router,
    store: Store,
}

impl Hub {
    /// Opens the database and the listening socket.
    ///
    /// # Errors
    /// When the database cannot be opened, or the address cannot be listened on.
    pub async fn open(config: &Serve) -> Result<Self> {
        let database = &config.database;
        let store = Store::open(&database.database_url, database.retain).await?;
        Roller::new(store.clone()).begin(now_ms() / 1_000).await?;
        let queue = Queue::start(Writer::new(store.clone(), config.max_series), config.max_waiting);
        let app = ingest::routes(queue.clone()).merge(api::routes(store.clone(), queue)).merge(web::routes());
        let listener = TcpListener::bind(config.listen).await;
        let listener =
            listener.with_context(|| format!("cannot listen on {}; --listen gives another", config.listen))?;
        Ok(Self { listener, app, store })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the socket does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().context("the listening socket has no address")
    }

    /// Its database.
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Serves until `ended` does, and then answers what is under way.
    ///
    /// # Errors
    /// When the listening socket fails.
    pub async fn run(self, ended: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let upkeep = tokio::spawn(keep_up(self.store));
        let served = axum::serve(self.listener, self.app).with_graceful_shutdown(ended).await;
        upkeep.abort();
        served.context("the listening socket failed")
    }
}

/// Makes levels and drops what has expired, for ever.
async fn keep_up(store: Store) {
    let roller = Roller::new(store.clone());
    let mut every = tokio::time::interval(UPKEEP);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut well = true;
    for round in 0u64.. {
        every.tick().await;
        let done = keep_up_once(&store, &roller, round % SELDOM == 0).await;
        if let Err(error) = &done
            && well
        {
            tracing::warn!("cannot keep the database up: {}", ingest::chain(error));
        }
        well = done.is_ok();
    }
}

async fn keep_up_once(store: &Store, roller: &Roller, thoroughly: bool) -> Result<(), store::Error> {
    let now = now_ms() / 1_000;
    roller.roll(now).await?;
    store.expire(now).await?;
    if thoroughly {
        store.forget(now).await?;
    }
    Ok(())
}
