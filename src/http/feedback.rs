//! What people say of answers, on either plane.

use axum::body::Body;
use axum::response::Response;
use http::Method;
use http::header;
use http_body_util::BodyExt;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use serde_json::json;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment;
use crate::feedback::Feedback;
use crate::recorder::Recorder;

/// Where applications send it.
pub const PATH: &str = "/v1/feedback";

/// The largest that is read.
const MAX_BYTES: usize = 64 << 10;

/// How long it may take to arrive and to reach the disk.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Takes what somebody said, and answers once it is on disk.
///
/// # Errors
/// It cannot be read, or nothing is known of its request.
pub async fn take(recorder: &Recorder, method: &Method, body: Body) -> Result<Response> {
    if *method != Method::POST {
        return Err(Error::new(Kind::BadMethod, format!("{PATH} takes POST only")));
    }
    let taken = tokio::time::timeout(PATIENCE, async {
        let feedback = Feedback::read(&read(body).await?)?;
        let request_id = feedback.request_id.clone();
        let subject = recorder.say(feedback).await?;
        Result::Ok((request_id, subject))
    });
    let late = |_| Error::new(Kind::Overloaded, "the feedback took too long: send it again later");
    let (request_id, subject) = taken.await.map_err(late)??;
    let told = json!({
        "request_id": request_id, "experiment": experiment::name_of(&subject.experiment), "variant": subject.variant,
    });
    let mut response = Response::new(Body::from(told.to_string()));
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

async fn read(body: Body) -> Result<bytes::Bytes> {
    match Limited::new(body, MAX_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let what = format!("feedback is at most {MAX_BYTES} bytes: shorten `comment`");
            Err(Error::new(Kind::TooLarge, what))
        }
        Err(_) => Err(Error::new(Kind::BadRequest, "the body broke off")),
    }
}
