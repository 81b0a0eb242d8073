//! What calls cost, over HTTP.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use crate::http::admin::Admin;
use crate::http::admin::Route;
use crate::http::admin::exchanges::Parameters;
use crate::http::admin::exchanges::answer;
use crate::http::admin::exchanges::parameters;
use crate::http::admin::exchanges::settle;
use crate::library::costs::Wanted;

pub fn routes() -> Vec<Route> {
    vec![("/api/v1/costs", get(costs))]
}

async fn costs(State(admin): State<Admin>, query: Parameters) -> Response {
    let costs = async {
        let given = parameters(query)?;
        let given = given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let wanted = Wanted::parse(given, jiff::Timestamp::now().as_millisecond())?;
        settle(&admin).await;
        Ok(Json(admin.library.costs(wanted).await?))
    };
    answer(costs.await)
}
