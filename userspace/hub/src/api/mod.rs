//! `/api/v1`: what is kept, as JSON or CSV. `/api/v1/openapi.json` describes it.

mod access;
mod accounting;
mod ask;
mod entities;
mod page;
mod problem;
mod series;
mod status;
mod top;

use std::sync::Arc;

use axum::extract::State;
use axum::{Json, Router};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;
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
    /// Who gets in, for its counters.
    pub access: Access,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "podscope hub",
        description = "What podscope's agents, or any OpenTelemetry source, have sent."
    ),
    modifiers(&Schemes),
    security(("token" = []), ("session" = []))
)]
struct Description;

/// How one shows who one is.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("podscope_ID_SECRET");
        let token = token.description(Some("podscope-hub token add"));
        let session = "Set by /web/login; without TLS its name is podscope. Changes need X-CSRF-Token as well.";
        let session = ApiKey::Cookie(ApiKeyValue::with_description("__Host-podscope", session));
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
        components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    }
}

/// All routes, and their description.
fn described() -> OpenApiRouter<Hub> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(entities::metrics))
        .routes(routes!(entities::entities))
        .routes(routes!(series::series))
        .routes(routes!(top::top))
        .routes(routes!(accounting::accounting))
        .routes(routes!(status::status))
        .routes(routes!(access::me))
        .routes(routes!(access::audit))
}

/// The description of the API, as committed.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().split_for_parts().1
}

/// `/api/v1`, `/healthz` and `/readyz`.
pub fn routes(store: Store, queue: Queue, access: Access) -> Router {
    let (router, description) = described().split_for_parts();
    let page = axum::response::Html(page::render(&description));
    let description = Arc::new(description);
    router
        .route("/api/v1/", axum::routing::get(move || async move { page.clone() }))
        .route("/api/v1/openapi.json", axum::routing::get(move || async move { Json((*description).clone()) }))
        .route("/healthz", axum::routing::get(|| async { "ok\n" }))
        .route("/readyz", axum::routing::get(ready))
        .with_state(Hub { store, queue, access })
}

async fn ready(State(hub): State<Hub>) -> Result<&'static str, Problem> {
    hub.store.ping().await?;
    Ok("ok\n")
}
