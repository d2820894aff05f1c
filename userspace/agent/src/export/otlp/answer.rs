//! What a receiver's answer means, for OTLP/gRPC and OTLP/HTTP.
//!
//! Source: OpenTelemetry protocol specification, "OTLP/gRPC response" and "OTLP/HTTP response".

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode;
use prost::Message;
use tonic::Code;

use crate::text::line;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken, apart from some points.
    Accepted {
        /// Points that the receiver refused.
        rejected: u64,
        /// What it says about them; may also be a warning when none was refused.
        message: String,
    },
    /// Refused for good: sending it again would not help.
    Refused {
        /// Why.
        reason: String,
    },
    /// Not taken now.
    Later {
        /// Why.
        reason: String,
        /// How long the receiver asks to be left alone.
        after: Option<Duration>,
    },
}

/// `ExportMetricsServiceResponse`.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `ExportMetricsPartialSuccess`.
#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_data_points: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RetryDelay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The verdict of an OTLP/HTTP answer.
pub(super) fn http(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Verdict {
    if status.is_success() {
        let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
        return if kind.starts_with(b"text/") {
            let reason = format!("answered {status} with a page of text; is this an OTLP endpoint?");
            Verdict::Refused { reason }
        } else {
            accepted(body)
        };
    }
    let said = Status::decode(body).map(|status| status.message).unwrap_or_default();
    let said = if said.is_empty() { String::from_utf8_lossy(body).into_owned() } else { said };
    let reason = with_message(format!("answered {status}"), &said);
    match status.as_u16() {
        429 | 502 | 503 | 504 => Verdict::Later { reason, after: retry_after(headers, now) },
        _ => Verdict::Refused { reason },
    }
}

/// The verdict of an OTLP/gRPC answer; `None` where it has no gRPC status.
///
/// `status`: the headers or trailers that carry the status. `body`: the frames of the answer.
pub(super) fn grpc(status: &HeaderMap, body: &[u8]) -> Option<Verdict> {
    let code = Code::from_bytes(status.get("grpc-status")?.as_bytes());
    if code == Code::Ok {
        // One frame: a flag for compression, which was not asked for, and the length of the message.
        let message = body.split_first_chunk::<5>().map_or(&b""[..], |(_, message)| message);
        return Some(accepted(message));
    }
    let said = status.get("grpc-message").map(|text| percent_decode(text.as_bytes()).decode_utf8_lossy());
    let reason = with_message(format!("answered {code:?}"), &said.unwrap_or_default());
    let after = status.get("grpc-status-details-bin").and_then(|details| retry_delay(details.as_bytes()));
    let retryable = match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => after.is_some(),
        _ => false,
    };
    Some(if retryable { Verdict::Later { reason, after } } else { Verdict::Refused { reason } })
}

/// A body that is no such message is taken as one that reports nothing: the status said yes.
fn accepted(body: &[u8]) -> Verdict {
    let partial = ExportResponse::decode(body).ok().and_then(|response| response.partial_success).unwrap_or_default();
    Verdict::Accepted {
        rejected: partial.rejected_data_points.max(0).unsigned_abs(),
        message: clean(&partial.error_message),
    }
}

/// `Retry-After`, as seconds or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// The delay of the `RetryInfo` among a gRPC status's details (`google.rpc.Status` in base64).
fn retry_delay(details: &[u8]) -> Option<Duration> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let status = Status::decode(&*BASE64.decode(details).ok()?).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay.unwrap_or_default();
    let seconds = Duration::from_secs(delay.seconds.max(0).unsigned_abs());
    Some(seconds.saturating_add(Duration::from_nanos(delay.nanos.max(0).unsigned_abs().into())))
}

fn with_message(what: String, message: &str) -> String {
    let message = clean(message);
    if message.is_empty() { what } else { format!("{what}: {message}") }
}

/// The beginning of a receiver's words.
fn clean(text: &str) -> String {
    line(text, 200)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::metrics::v1 as collector;
    use proptest::prelude::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn over_http(status: u16, pairs: &[(&'static str, &str)], body: &[u8]) -> Verdict {
        http(StatusCode::from_u16(status).unwrap(), &headers(pairs), body, SystemTime::UNIX_EPOCH)
    }

    fn accepted(rejected: u64, message: &str) -> Verdict {
        Verdict::Accepted { rejected, message: message.to_owned() }
    }

    fn partial(rejected: i64, message: &str) -> Vec<u8> {
        let partial = collector::ExportMetricsPartialSuccess {
            rejected_data_points: rejected,
            error_message: message.to_owned(),
        };
        collector::ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    }

    #[test]
    fn http_success_with_and_without_words() {
        assert_eq!(over_http(200, &[], b""), accepted(0, ""));
        assert_eq!(over_http(204, &[], b""), accepted(0, ""));
        assert_eq!(over_http(200, &[], &partial(3, "too\nold")), accepted(3, "too old"));
        assert_eq!(over_http(200, &[], &partial(-3, "")), accepted(0, ""));
        assert_eq!(over_http(200, &[("content-type", "application/json")], b"{}"), accepted(0, ""));
        let Verdict::Refused { reason } = over_http(200, &[("content-type", "text/html; charset=utf-8")], b"<html>")
        else {
            panic!("a web page is no OTLP receiver")
        };
        assert!(reason.contains("OTLP endpoint"), "{reason}");
    }

    #[test]
    fn http_statuses_are_retried_as_the_specification_lists_them() {
        for status in 300..600 {
            let later = matches!(over_http(status, &[], b""), Verdict::Later { after: None, .. });
            assert_eq!(later, [429, 502, 503, 504].contains(&status), "{status}");
        }
        let after = |value| match over_http(503, &[("retry-after", value)], b"") {
            Verdict::Later { after, .. } => after.map(|d| d.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(7));
        assert_eq!(after("Thu, 01 Jan 1970 00:00:30 GMT"), Some(30));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-1"), None);
    }

    #[test]
    fn http_errors_show_what_the_receiver_said() {
        let status = Status { message: "quota".to_owned(), ..Status::default() }.encode_to_vec();
        assert_eq!(over_http(400, &[], &status), Verdict::Refused { reason: "answered 400 Bad Request: quota".into() });
        let plain = over_http(401, &[], b"no\ttoken\r\n");
        assert_eq!(plain, Verdict::Refused { reason: "answered 401 Unauthorized: no token".into() });
    }

    #[test]
    fn grpc_codes_are_retried_as_the_specification_lists_them() {
        for code in 1..=16 {
            let code = Code::from_i32(code);
            let verdict = grpc(&headers(&[("grpc-status", &(code as i32).to_string())]), b"").unwrap();
            let listed = [
                Code::Cancelled,
                Code::DeadlineExceeded,
                Code::Aborted,
                Code::OutOfRange,
                Code::Unavailable,
                Code::DataLoss,
            ];
            assert_eq!(matches!(verdict, Verdict::Later { .. }), listed.contains(&code), "{code:?}");
        }
        assert_eq!(grpc(&HeaderMap::new(), b""), None);
    }

    #[test]
    fn grpc_success_reads_the_partial_success_of_the_frame() {
        let message = partial(5, "no");
        let mut frame = vec![0, 0, 0, 0, message.len() as u8];
        frame.extend(message);
        let ok = headers(&[("grpc-status", "0")]);
        assert_eq!(grpc(&ok, &frame), Some(accepted(5, "no")));
        assert_eq!(grpc(&ok, &frame[..3]), Some(accepted(0, "")));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(
            status in 100u16..600, details in "[ -~]{0,80}", retry in "[ -~]{0,40}", body: Vec<u8>,
        ) {
            let pairs = [
                ("grpc-status", &*retry), ("grpc-message", &details), ("grpc-status-details-bin", &details),
                ("retry-after", &retry), ("content-type", &retry),
            ];
            over_http(status, &pairs, &body);
            grpc(&headers(&pairs), &body);
            grpc(&headers(&[("grpc-status", "8"), ("grpc-status-details-bin", &details)]), &body);
        }
    }
}
