//! Errors as RFC 9457 has them.

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ingest::chain;
use crate::store;

/// Why a request was not answered (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status' own words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What was wrong, and what would be right.
    pub detail: String,
}

impl Problem {
    /// With a status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { title: status.canonical_reason().unwrap_or("error"), status: status.as_u16(), detail: detail.into() }
    }

    /// The request was wrong.
    pub fn wrong(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        tracing::warn!("a question was not answered: {}", chain(&error));
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer; the hub's log says why")
    }
}

impl From<axum::extract::rejection::QueryRejection> for Problem {
    fn from(error: axum::extract::rejection::QueryRejection) -> Self {
        Self::wrong(error.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
