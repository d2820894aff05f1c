//! A request as it goes over the wire: encoded, compressed and framed.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::batch::{Batch, Cursor};
use super::config::Protocol;
use super::encode::fill;
use crate::snapshot::Snapshot;

/// Receivers refuse messages above 4 MiB by default, counted before compression.
const LIMIT: usize = 3_500_000;
/// gRPC's frame header: a flag for compression and the length, big-endian.
const FRAME: usize = 5;

/// A finished request.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The body.
    pub(super) bytes: Bytes,
    /// Points in it.
    pub(super) points: u64,
    /// Where the next request begins.
    pub(super) next: Cursor,
}

/// Encodes all of a snapshot, as the bodies of requests over HTTP.
///
/// # Errors
/// When a body cannot be compressed.
pub fn encode(snapshot: Arc<Snapshot>, gzip: bool) -> io::Result<Vec<Bytes>> {
    let batch = Batch::new(snapshot, |_| true);
    let mut at = Cursor::default();
    let mut bodies = Vec::new();
    while at.resource < batch.len() {
        let request = prepare(&batch, at, Protocol::Http, gzip)?;
        bodies.push(request.bytes);
        at = request.next;
    }
    Ok(bodies)
}

/// Makes the request that begins at `at`.
///
/// Level 1 of gzip: the higher ones cost several times the CPU time of encoding and sending together.
pub(super) fn prepare(batch: &Batch, at: Cursor, protocol: Protocol, gzip: bool) -> io::Result<Prepared> {
    let mut bytes = vec![0; if protocol == Protocol::Grpc { FRAME } else { 0 }];
    let filled = if gzip {
        let mut encoder = GzEncoder::new(bytes, Compression::new(1));
        let filled = fill(batch, at, LIMIT, &mut encoder)?;
        bytes = encoder.finish()?;
        filled
    } else {
        fill(batch, at, LIMIT, &mut bytes)?
    };
    if protocol == Protocol::Grpc {
        let length = u32::try_from(bytes.len() - FRAME).map_err(io::Error::other)?;
        bytes[0] = u8::from(gzip);
        bytes[1..FRAME].copy_from_slice(&length.to_be_bytes());
    }
    Ok(Prepared { bytes: bytes.into(), points: filled.points, next: filled.next })
}
