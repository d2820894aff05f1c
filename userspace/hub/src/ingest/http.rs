//! OTLP/HTTP (protobuf and JSON) and OTLP/gRPC, as the OpenTelemetry protocol specification says.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message as _;
use tonic::codec::CompressionEncoding;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;

use super::{Accepted, Queue, Refused, decode};

/// The largest request, unpacked.
const LARGEST: usize = 16 * 1024 * 1024;
/// When a sender that was turned away may come again, in s.
const AGAIN: &str = "2";

/// `google.rpc.Status`, which is the body of an OTLP/HTTP error.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// `POST /v1/metrics` and the gRPC service.
pub fn routes(queue: Queue) -> Router {
    let grpc = MetricsServiceServer::new(Grpc(queue.clone()))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(LARGEST);
    let http = Router::new()
        .route("/v1/metrics", post(take))
        .layer(DefaultBodyLimit::disable())
        // Inside: what the body unpacks to. A small body can unpack to a large one.
        .layer(RequestBodyLimitLayer::new(LARGEST))
        .layer(RequestDecompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(LARGEST))
        .with_state(queue);
    // Its fallback would answer every unknown path with 200, as gRPC does.
    http.merge(tonic::service::Routes::new(grpc).into_axum_router().reset_fallback())
}

async fn take(State(queue): State<Queue>, headers: HeaderMap, body: Bytes) -> Response {
    let form = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = Form::of(form.split(';').next().unwrap_or_default().trim());
    let Some(form) = form else {
        let said = "give application/x-protobuf or application/json as Content-Type";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, said).into_response();
    };
    let length = body.len();
    let batch = move || {
        let request: ExportMetricsServiceRequest = match form {
            Form::Protobuf => ExportMetricsServiceRequest::decode(body).map_err(|error| error.to_string())?,
            Form::Json => serde_json::from_slice(&body).map_err(|error| error.to_string())?,
        };
        Ok(decode(&request))
    };
    match queue.write(length, batch).await {
        Ok(accepted) => form.answer(&response(accepted)),
        Err(refused @ Refused::Malformed(_)) => form.fault(StatusCode::BAD_REQUEST, 3, refused.to_string()),
        Err(refused) => {
            let mut answer = form.fault(StatusCode::SERVICE_UNAVAILABLE, 14, refused.to_string());
            answer.headers_mut().insert(RETRY_AFTER, axum::http::HeaderValue::from_static(AGAIN));
            answer
        }
    }
}

fn response(accepted: Accepted) -> ExportMetricsServiceResponse {
    let Accepted { rejected, reason } = accepted;
    let partial = ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: reason,
    };
    ExportMetricsServiceResponse { partial_success: (rejected > 0).then_some(partial) }
}

#[derive(Clone, Copy)]
enum Form {
    Protobuf,
    Json,
}

impl Form {
    fn of(name: &str) -> Option<Self> {
        match name {
            "application/x-protobuf" => Some(Form::Protobuf),
            "application/json" => Some(Form::Json),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Form::Protobuf => "application/x-protobuf",
            Form::Json => "application/json",
        }
    }

    fn answer(self, response: &ExportMetricsServiceResponse) -> Response {
        let body = match self {
            Form::Protobuf => response.encode_to_vec(),
            Form::Json => serde_json::to_vec(response).unwrap_or_default(),
        };
        ([(CONTENT_TYPE, self.name())], body).into_response()
    }

    fn fault(self, status: StatusCode, code: i32, message: String) -> Response {
        let body = match self {
            Form::Protobuf => Status { code, message }.encode_to_vec(),
            Form::Json => serde_json::json!({ "code": code, "message": message }).to_string().into_bytes(),
        };
        (status, [(CONTENT_TYPE, self.name())], body).into_response()
    }
}

struct Grpc(Queue);

#[tonic::async_trait]
impl MetricsService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        let request = request.into_inner();
        match self.0.write(request.encoded_len(), move || Ok(decode(&request))).await {
            Ok(accepted) => Ok(tonic::Response::new(response(accepted))),
            Err(refused) => Err(tonic::Status::unavailable(refused.to_string())),
        }
    }
}
