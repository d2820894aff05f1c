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

/// Encodes a whole snapshot into the bodies of OTLP/HTTP requests: what the exporter does before it sends.
///
/// # Errors
/// Only those of the compressor, which has none when it writes to memory.
pub fn encode(snapshot: &Arc<Snapshot>, gzip: bool) -> io::Result<Vec<Bytes>> {
    let batch = Batch::new(Arc::clone(snapshot), |_| true);
    let mut bodies = Vec::new();
    let mut at = Cursor::default();
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use podscope_catalog::{Entity, id};

    use super::*;
    use crate::snapshot::{Point, Resource, Value};

    fn batch() -> Batch {
        let point = Point { metric: id::POD_MEMORY_RSS, combination: 0, value: Value::Int(1) };
        let resource = Resource {
            entity: Entity::Pod,
            attributes: Arc::default(),
            start_ns: 1,
            kernel_start_ns: 1,
            ended: false,
            points: vec![point],
        };
        Batch::new(Arc::new(Snapshot { time_ns: 2, resources: vec![resource], ..Snapshot::default() }), |_| true)
    }

    #[test]
    fn frames_say_whether_they_are_compressed_and_how_long_they_are() {
        let batch = batch();
        let made = |protocol, gzip| prepare(&batch, Cursor::default(), protocol, gzip).unwrap().bytes;
        let plain = made(Protocol::Http, false);
        for gzip in [false, true] {
            let framed = made(Protocol::Grpc, gzip);
            let (frame, message) = framed.split_at(FRAME);
            assert_eq!(frame[0], u8::from(gzip));
            assert_eq!(frame[1..], (message.len() as u32).to_be_bytes());
            assert_eq!(message, made(Protocol::Http, gzip));
            let mut unpacked = Vec::new();
            if gzip {
                GzDecoder::new(message).read_to_end(&mut unpacked).unwrap();
            } else {
                unpacked.extend(message);
            }
            assert_eq!(unpacked, plain);
        }
        assert_eq!(encode(&Arc::default(), true).unwrap(), Vec::<Bytes>::new());
    }
}
