//! An AdmissionReview, version 1: bytes in, bytes out.
//!
//! Source: <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::sidecar;
use crate::sidecar::Injection;
use crate::sidecar::Settings;

/// The version that is spoken.
const VERSION: &str = "admission.k8s.io/v1";

/// The kind of what comes and goes.
const KIND: &str = "AdmissionReview";

/// The most characters of a warning: API servers may cut what is longer.
const WARNING: usize = 256;

/// The most warnings of a review: API servers drop what is over 4096 characters in all.
const WARNINGS: usize = 16;

/// What came of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod gets the sidecar.
    Injected,
    /// The pod has it, or does not want it.
    Unchanged,
    /// The pod cannot have it, and its maker is told why.
    Refused,
    /// This is no pod that is being created.
    NoPod,
}

impl Outcome {
    /// The word used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::NoPod => "no_pod",
        }
    }
}

/// The answer to a review.
#[derive(Clone, Debug)]
pub struct Reviewed {
    /// What came of it.
    pub outcome: Outcome,
    /// The AdmissionReview to send back.
    pub answer: Vec<u8>,
    /// Namespace and name of the pod, fit to be logged.
    pub pod: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    api_version: String,
    kind: String,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    uid: String,
    kind: GroupKind,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    operation: String,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

#[derive(Deserialize, PartialEq)]
struct GroupKind {
    #[serde(default)]
    group: String,
    version: String,
    kind: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Answers a review. Whatever its object is, it is allowed: who created it learns by warnings.
///
/// # Errors
/// It is no AdmissionReview of version 1 with a request.
pub fn review(body: &[u8], settings: &Settings) -> Result<Reviewed> {
    let wrong = |what: String| Error::new(Kind::BadRequest, what);
    // What serde says may quote the pod; where it stumbled does not.
    let unread = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        wrong(format!("this is no AdmissionReview as JSON: see line {line}, column {column}"))
    };
    let asked: Asked<'_> = serde_json::from_slice(body).map_err(unread)?;
    if asked.kind != KIND || asked.api_version != VERSION {
        return Err(wrong(format!(
            "only {KIND} of {VERSION} is understood: set admissionReviewVersions: [v1]"
        )));
    }
    let request = asked.request.ok_or_else(|| wrong("the review has no request".to_owned()))?;
    let (outcome, injection, name) = decide(&request, settings);
    let patch = match injection.patch.is_empty() {
        true => None,
        false => Some(STANDARD.encode(json(&injection.patch)?)),
    };
    let warnings = injection.warnings.iter().take(WARNINGS).map(|warning| warned(warning));
    let response = Response {
        uid: &request.uid,
        allowed: true,
        patch_type: patch.as_ref().map(|_| "JSONPatch"),
        patch,
        warnings: warnings.collect(),
    };
    let answer = json(&Answer { api_version: VERSION, kind: KIND, response })?;
    let pod = format!("{}/{}", shown(&request.namespace), shown(&name));
    Ok(Reviewed { outcome, answer, pod })
}

/// What happens to the object of a request, and its name.
fn decide(request: &Request<'_>, settings: &Settings) -> (Outcome, Injection, String) {
    let none = |outcome, why: &str| {
        let warnings = Vec::from([why].map(str::to_owned));
        (outcome, Injection { patch: Vec::new(), warnings }, request.name.clone())
    };
    let is_pod = request.kind.group.is_empty()
        && request.kind.version == "v1"
        && request.kind.kind == "Pod"
        && request.sub_resource.is_empty();
    if !is_pod || request.operation != "CREATE" {
        return none(Outcome::NoPod, "only pods get a sidecar, and only when they are created");
    }
    // As bytes it is bounded; taken apart, so is its depth.
    let pod = request.object.map(|object| serde_json::from_str::<Value>(object.get()));
    let Some(Ok(pod)) = pod else {
        return none(Outcome::NoPod, "no sidecar was added: there is no pod that can be read");
    };
    let metadata = &pod["metadata"];
    let name = [&metadata["name"], &metadata["generateName"]].into_iter().find_map(Value::as_str);
    let name = name.unwrap_or(&request.name).to_owned();
    match sidecar::inject(&pod, settings) {
        Ok(injection) => {
            let outcome = match (injection.patch.is_empty(), injection.warnings.is_empty()) {
                (false, _) => Outcome::Injected,
                (true, true) => Outcome::Unchanged,
                (true, false) => Outcome::Refused,
            };
            (outcome, injection, name)
        }
        Err(error) => none(Outcome::NoPod, &format!("no sidecar was added: {error}")),
    }
}

/// A warning as the API server passes it on to whoever created the pod.
fn warned(warning: &str) -> String {
    let said = warning.chars().map(|c| if c.is_control() { ' ' } else { c });
    "understudy: ".chars().chain(said).take(WARNING).collect()
}

/// A name as Kubernetes allows it, since the pod is not checked yet; a dash for any other.
fn shown(name: &str) -> &str {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if !name.is_empty() && name.len() <= 253 && name.chars().all(is_name) { name } else { "-" }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let failed = |error| Error::new(Kind::Internal, format!("cannot write JSON: {error}"));
    serde_json::to_vec(value).map_err(failed)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::any;
    use proptest::prelude::prop;
    use proptest::prop_assert;
    use proptest::proptest;
    use serde_json::Value;
    use serde_json::json;

    use super::Outcome;
    use super::Reviewed;
    use super::review;
    use crate::sidecar::Operation;
    use crate::sidecar::Settings;
    use crate::sidecar::apply;

    fn settings() -> Settings {
        Settings::new("understudy:1").unwrap()
    }

    fn pod() -> Value {
        json!({"metadata": {"generateName": "web-"}, "spec": {"containers": [{"name": "app"}]}})
    }

    fn asked(object: &Value) -> Value {
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "namespace": "apps", "operation": "CREATE", "object": object, "dryRun": true,
            },
        })
    }

    fn answer(asked: &Value) -> (Reviewed, Value) {
        let reviewed = review(asked.to_string().as_bytes(), &settings()).unwrap();
        let answer = serde_json::from_slice::<Value>(&reviewed.answer).unwrap();
        assert_eq!(answer["response"]["uid"], "u-1");
        assert_eq!(answer["response"]["allowed"], true);
        (reviewed, answer)
    }

    #[test]
    fn a_pod_gets_the_sidecar_once() {
        let (reviewed, answer) = answer(&asked(&pod()));
        assert_eq!((reviewed.outcome, reviewed.pod.as_str()), (Outcome::Injected, "apps/web-"));
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
        let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
        let patch: Vec<Operation> = serde_json::from_slice(&patch).unwrap();
        let mut patched = pod();
        apply(&mut patched, &patch);
        assert_eq!(patched["spec"]["initContainers"][0]["name"], "understudy");
        let (again, answer) = self::answer(&asked(&patched));
        assert_eq!(again.outcome, Outcome::Unchanged);
        assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": true}));
    }

    #[test]
    fn whatever_is_no_new_pod_is_allowed_with_a_warning() {
        let mut service = asked(&pod());
        service["request"]["kind"]["kind"] = "Service".into();
        let mut update = asked(&pod());
        update["request"]["operation"] = "UPDATE".into();
        let mut ephemeral = asked(&pod());
        ephemeral["request"]["subResource"] = "ephemeralcontainers".into();
        let deep = "[".repeat(500) + &"]".repeat(500);
        let deep = asked(&pod()).to_string().replace(r#"{"name":"app"}"#, &deep);
        for (asked, outcome) in [
            (service, Outcome::NoPod),
            (update, Outcome::NoPod),
            (ephemeral, Outcome::NoPod),
            (asked(&Value::Null), Outcome::NoPod),
            (asked(&json!([1])), Outcome::NoPod),
            (asked(&json!({"spec": {"containers": 1}})), Outcome::NoPod),
            (
                asked(&json!({"spec": {"hostNetwork": true, "containers": [{"name": "a"}]}})),
                Outcome::Refused,
            ),
        ] {
            let (reviewed, answer) = answer(&asked);
            assert_eq!(reviewed.outcome, outcome, "{asked}");
            assert!(answer["response"]["patch"].is_null());
            let warning = answer["response"]["warnings"][0].as_str().unwrap();
            assert!(warning.starts_with("understudy: "), "{warning}");
        }
        let reviewed = review(deep.as_bytes(), &settings()).unwrap();
        assert_eq!(reviewed.outcome, Outcome::NoPod);
    }

    #[test]
    fn what_is_no_review_is_an_error_that_quotes_nothing() {
        let mut old = asked(&pod());
        old["apiVersion"] = "admission.k8s.io/v1beta1".into();
        let mut other = asked(&pod());
        other["kind"] = "Pod".into();
        let mut empty = asked(&pod());
        empty.as_object_mut().unwrap().remove("request");
        let mut nobody = asked(&pod());
        nobody["request"].as_object_mut().unwrap().remove("uid");
        let mut number = asked(&pod());
        number["request"]["uid"] = json!({"secret": "s3cret"});
        for body in [old, other, empty, nobody, number, json!("s3cret"), json!(null)] {
            let error = review(body.to_string().as_bytes(), &settings()).unwrap_err();
            assert_eq!(error.status(), 400, "{body}");
            assert!(!error.detail.contains("s3cret"), "{error}");
        }
        let deep = "[".repeat(1 << 20);
        for body in [&b""[..], b"{", b"\xff", deep.as_bytes()] {
            assert_eq!(review(body, &settings()).unwrap_err().status(), 400);
        }
    }

    #[test]
    fn a_hostile_name_is_neither_logged_nor_does_it_break_a_line() {
        let mut asked = asked(&pod());
        asked["request"]["namespace"] = "a\nb".into();
        asked["request"]["object"]["metadata"]["generateName"] = "X{}\u{1b}[2J".into();
        assert_eq!(answer(&asked).0.pod, "-/-");
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(review(&body, &settings()).is_err());
        }

        #[test]
        fn no_change_of_a_byte_breaks_it(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut body = asked(&pod()).to_string().into_bytes();
            let at = at.index(body.len());
            body[at] = byte;
            let _either = review(&body, &settings());
        }
    }
}
