//! `/api/v1`: what is kept, as JSON or CSV. `/api/v1/openapi.json` describes it.

mod accounting;
mod ask;
mod entities;
mod problem;
mod series;
mod status;
mod top;

use std::sync::Arc;

use axum::extract::State;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ingest::Queue;
use crate::store::Store;

pub use problem::Problem;

/// What handlers share.
#[derive(Clone, Debug)]
pub struct Hub {
    /// The database.
    pub store: Store,
    /// The way in, for its counters.
    pub queue: Queue,
}

#[derive(OpenApi)]
#[openapi(info(
    title = "podscope hub",
    description = "What podscope's agents, or any OpenTelemetry source, have sent."
))]
struct Description;

/// All routes, and their description.
fn described() -> OpenApiRouter<Hub> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(entities::metrics))
        .routes(routes!(entities::entities))
        .routes(routes!(series::series))
        .routes(routes!(top::top))
        .routes(routes!(accounting::accounting))
        .routes(routes!(status::status))
}

/// The description of the API, as committed.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().split_for_parts().1
}

/// `/api/v1`, `/healthz` and `/readyz`.
pub fn routes(store: Store, queue: Queue) -> Router {
    let (router, description) = described().split_for_parts();
    let description = Arc::new(description);
    router
        .route("/api/v1/openapi.json", axum::routing::get(move || async move { Json((*description).clone()) }))
        .route("/healthz", axum::routing::get(|| async { "ok\n" }))
        .route("/readyz", axum::routing::get(ready))
        .with_state(Hub { store, queue })
}

async fn ready(State(hub): State<Hub>) -> Result<&'static str, Problem> {
    hub.store.ping().await?;
    Ok("ok\n")
}
