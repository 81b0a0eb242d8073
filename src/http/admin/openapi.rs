//! The admin plane described for programs, as OpenAPI 3.1.

use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;

/// Tests hold every path, method and filter in it against what really answers.
pub const DOCUMENT: &str = include_str!("openapi.json");

pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
