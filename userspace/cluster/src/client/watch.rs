//! A watch: an answer that goes on, one event in each line.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{Client, Status, fault, status_code};
use crate::Error;

/// The longest event that is read; the API stores objects of 1.5 MiB at most.
const LONGEST: usize = 4 << 20;
/// How much later than asked for a server may end a watch.
const GRACE: Duration = Duration::from_secs(15);

/// What has happened to an object.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
#[serde(bound = "T: serde::de::Deserialize<'de>")]
pub(crate) enum Event<T> {
    /// It is there.
    Added(T),
    /// It has changed.
    Modified(T),
    /// It has gone; this was its last state.
    Deleted(T),
    /// Nothing; all up to its resource version has been told.
    Bookmark(T),
    /// The watch cannot go on.
    Error(Failed),
}

/// A status in the place of an object.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Failed(Status);

/// A running watch.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    path: String,
    body: Body,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no end of a line.
    searched: usize,
    end: Instant,
    lasts: Duration,
}

impl Client {
    /// Begins a watch that the server is asked to end after `lasts`. `path`: with its query, which asks for a watch.
    ///
    /// # Errors
    /// Whatever is in [`Error`].
    pub async fn watch(&self, path: &str, lasts: Duration) -> Result<Watch, Error> {
        let path = format!("{path}&timeoutSeconds={}", lasts.as_secs());
        let answer = self.counted(self.within(&path, self.send(&path, "application/json")).await)?;
        let end = Instant::now() + lasts + GRACE;
        Ok(Watch {
            client: self.clone(),
            path,
            body: answer.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            end,
            lasts: lasts + GRACE,
        })
    }
}

impl Watch {
    /// The next event; `None` when the server has ended the watch, as it does after the time asked for.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Event<T>>, Error> {
        let read = self.read().await;
        if let Err(error) = &read {
            self.client.counters.count(error.outcome());
        }
        read
    }

    async fn read<T: DeserializeOwned>(&mut self) -> Result<Option<Event<T>>, Error> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end);
                self.buffer.advance(1);
                self.searched = 0;
                let event = serde_json::from_slice(&line);
                return event.map(Some).map_err(|error| self.client.malformed(&self.path, &error));
            }
            self.searched = self.buffer.len();
            if self.searched > LONGEST {
                let reason = format!("an event is longer than {LONGEST} bytes");
                return Err(Error::Malformed { call: self.client.call(&self.path), reason });
            }
            let frame = timeout_at(self.end, self.body.frame()).await;
            let late = |_| Error::TimedOut { call: self.client.call(&self.path), within: self.lasts };
            match frame.map_err(late)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.client.broken(&self.path, &error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// The state that came in the place of an object.
    pub(crate) fn failed(&self, Failed(status): &Failed) -> Error {
        let said = if status.message.is_empty() { String::new() } else { format!(" ({})", status.message) };
        let error = fault::of_status(self.client.call(&self.path), status_code(status), said, None);
        self.client.counters.count(error.outcome());
        error
    }
}
