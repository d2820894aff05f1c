//! Puts it all together.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tower_http::timeout::TimeoutLayer;

use crate::access::{self, Access, Headers};
use crate::api::Problem;
use crate::config::Serve;
use crate::ingest::{self, Queue, now_ms};
use crate::store::{self, Roller, Store, Writer};
use crate::tls::Tls;
use crate::{api, listen, web};

/// How often levels are made and expired points dropped.
const UPKEEP: Duration = Duration::from_secs(10);
/// For the answer to a request.
const ANSWER: Duration = Duration::from_secs(60);
/// The largest body of a request, but for points.
const BODY: usize = 1024 * 1024;
/// Of these times, how seldom series are looked for that nothing is left of.
const SELDOM: u64 = 180;

/// A hub that listens.
#[derive(Debug)]
pub struct Hub {
    listener: TcpListener,
    app: Router,
    store: Store,
    access: Access,
    tls: Option<Tls>,
    setup: Option<String>,
    most: usize,
}

impl Hub {
    /// Opens the database and the listening socket.
    ///
    /// # Errors
    /// When the database cannot be opened, the address cannot be listened on, or the files of TLS cannot be used.
    pub async fn open(config: &Serve) -> Result<Self> {
        config.check()?;
        let tls = Tls::load(&config.entry)?;
        let database = &config.database;
        let store = Store::open(&database.database_url, database.retain).await?;
        Roller::new(store.clone()).begin(now_ms() / 1_000).await?;
        let queue = Queue::start(Writer::new(store.clone(), config.max_series), config.max_waiting);
        let access = Access::new(store.clone(), &config.entry)?;
        let routes = ingest::routes(queue.clone()).merge(api::routes(store.clone(), queue, access.clone()));
        let app = guarded(routes.merge(access::routes(access.clone())).merge(web::routes()), &access);
        let listener = TcpListener::bind(config.listen).await;
        let listener =
            listener.with_context(|| format!("cannot listen on {}; --listen gives another", config.listen))?;
        let setup = access.setup().await?;
        Ok(Self { listener, app, store, access, tls, setup, most: config.entry.max_connections })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the socket does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().context("the listening socket has no address")
    }

    /// Where nobody may log in yet: the path by which the first one is let in.
    pub fn setup(&self) -> Option<&str> {
        self.setup.as_deref()
    }

    /// Its database.
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Serves until `ended` does, and then answers what is under way.
    pub async fn run(self, ended: impl Future<Output = ()> + Send + 'static) {
        let upkeep = tokio::spawn(keep_up(self.store));
        let tidy = tokio::spawn(self.access.clone().tidy());
        listen::serve(self.listener, self.tls, self.app, self.most, &self.access.refused().connections, ended).await;
        upkeep.abort();
        tidy.abort();
    }
}

/// Every route behind the guard, within its limits, and with what browsers are to be told.
fn guarded(routes: Router, access: &Access) -> Router {
    let headers = Headers { secure: access.secure() };
    routes
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "there is nothing here; /api/v1/ lists what there is")
        })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(access.clone(), access::guard))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, ANSWER))
        .layer(from_fn_with_state(headers, access::secure))
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
