//! What pods get: patches of real and of hostile ones, and what may be asked for.

use std::fs;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use understudy::sidecar;
use understudy::sidecar::Injection;
use understudy::sidecar::Settings;

use crate::shared;

const IMAGE: &str = "registry.example/understudy:1";

pub fn settings() -> Settings {
    Settings::new(IMAGE).unwrap()
}

fn inject(pod: &Value) -> Injection {
    sidecar::inject(pod, &settings()).unwrap()
}

/// The pod with the sidecar, and the warnings.
fn injected(pod: &Value) -> (Value, Vec<String>) {
    let Injection { patch, warnings } = inject(pod);
    let mut pod = pod.clone();
    sidecar::apply(&mut pod, &patch);
    (pod, warnings)
}

fn pod(annotations: Value, container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("app");
    container["image"] = json!("app:1");
    json!({
        "metadata": { "name": "p", "annotations": annotations },
        "spec": { "containers": [container] },
    })
}

fn variable<'v>(container: &'v Value, name: &str) -> Option<&'v Value> {
    container["env"].as_array()?.iter().find(|one| one["name"] == name)
}

fn text<'v>(container: &'v Value, name: &str) -> Option<&'v str> {
    variable(container, name)?["value"].as_str()
}

#[test]
fn the_sidecar_is_the_first_to_start_and_the_application_is_told() {
    let plain = pod(json!({}), json!({}));
    let (after, warnings) = injected(&plain);
    assert_eq!(warnings, Vec::<String>::new());
    let sidecar = &after["spec"]["initContainers"][0];
    assert_eq!(sidecar["name"], "understudy");
    assert_eq!(sidecar["image"], IMAGE);
    assert_eq!(sidecar["restartPolicy"], "Always");
    let app = &after["spec"]["containers"][0];
    for (name, value) in [
        ("UNDERSTUDY_URL", "http://127.0.0.1:4100"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:4100/openai/v1"),
        ("OPENAI_API_BASE", "http://127.0.0.1:4100/openai/v1"),
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:4100/anthropic"),
        ("ANTHROPIC_API_URL", "http://127.0.0.1:4100/anthropic"),
        ("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:4100/gemini"),
    ] {
        assert_eq!(text(app, name), Some(value), "{name}");
    }
    assert_eq!(app["env"].as_array().unwrap().len(), 6);
    assert_eq!(after["metadata"]["labels"]["understudy.dev/injected"], "true");
    let status = after["metadata"]["annotations"]["understudy.dev/status"].as_str().unwrap();
    let status: Value = serde_json::from_str(status).unwrap();
    assert_eq!(status["config"], "understudy");
    assert_eq!(inject(&after), Injection::default(), "a second time adds nothing");
}

#[test]
fn nothing_is_replaced_and_init_containers_move_behind() {
    let mut before = pod(json!({}), json!({ "env": [{ "name": "A", "value": "1" }] }));
    before["spec"]["initContainers"] = json!([{ "name": "migrate", "image": "app:1" }]);
    before["spec"]["volumes"] = json!([{ "name": "v", "emptyDir": {} }]);
    before["metadata"]["labels"] = json!({ "app": "x" });
    let (after, _) = injected(&before);
    assert_eq!(after["spec"]["initContainers"][1], before["spec"]["initContainers"][0]);
    assert_eq!(after["spec"]["volumes"][0], before["spec"]["volumes"][0]);
    assert_eq!(after["spec"]["containers"][0]["env"][0], json!({ "name": "A", "value": "1" }));
    assert_eq!(after["metadata"]["labels"]["app"], "x");
    assert!(inject(&before).patch.iter().all(|one| one.path != "/spec/initContainers"));
}

#[test]
fn the_users_own_values_win_and_whoever_goes_elsewhere_is_told() {
    let own = json!({ "env": [
        { "name": "OPENAI_BASE_URL", "value": "https://gateway.example/v1" },
        { "name": "ANTHROPIC_BASE_URL", "value": "http://127.0.0.1:4100/anthropic" },
    ]});
    let (after, warnings) = injected(&pod(json!({}), own));
    let app = &after["spec"]["containers"][0];
    assert_eq!(text(app, "OPENAI_BASE_URL"), Some("https://gateway.example/v1"));
    // It would lead those libraries to the sidecar that read this one first.
    assert_eq!(variable(app, "OPENAI_API_BASE"), None);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("app sets OPENAI_BASE_URL itself"), "{warnings:?}");
}

#[test]
fn a_proxy_is_for_the_sidecar_and_not_between_it_and_the_application() {
    for (env, upper, lower) in [
        (json!([]), Some("127.0.0.1,localhost"), Some("127.0.0.1,localhost")),
        (
            json!([{ "name": "NO_PROXY", "value": ".svc" }]),
            Some(".svc,127.0.0.1,localhost"),
            Some(".svc,127.0.0.1,localhost"),
        ),
        (
            json!([{ "name": "no_proxy", "value": "localhost" }, { "name": "NO_PROXY", "value": "*" }]),
            Some("*"),
            Some("localhost,127.0.0.1"),
        ),
        (json!([{ "name": "NO_PROXY", "valueFrom": {} }]), None, None),
    ] {
        let mut container = json!({ "env": env });
        let proxy = json!({ "name": "HTTPS_PROXY", "value": "http://egress:3128" });
        container["env"].as_array_mut().unwrap().push(proxy.clone());
        let (after, warnings) = injected(&pod(json!({}), container.clone()));
        let app = &after["spec"]["containers"][0];
        assert_eq!((text(app, "NO_PROXY"), text(app, "no_proxy")), (upper, lower), "{container}");
        let names = app["env"].as_array().unwrap().iter().filter(|one| one["name"] == "NO_PROXY");
        assert!(names.count() <= 1);
        assert_eq!(warnings.is_empty(), upper.is_some(), "{warnings:?}");
        let sidecar = &after["spec"]["initContainers"][0];
        assert_eq!(variable(sidecar, "HTTPS_PROXY"), Some(&proxy));
        assert_eq!(variable(sidecar, "OPENAI_BASE_URL"), None);
    }
}

#[test]
fn annotations_are_wishes_and_mistakes_are_named_with_the_nearest() {
    let wishes = json!({
        "understudy.dev/config": "web-experiments", "understudy.dev/image": "other:2",
        "understudy.dev/log-level": "debug", "understudy.dev/cpu-request": "100m",
        "understudy.dev/memory-request": "128Mi", "understudy.dev/memory-limit": "1Gi",
        "understudy.dev/cache-size": "2Gi", "understudy.dev/providers": "openai",
        "understudy.dev/secret": "llm-keys", "understudy.dev/key-mode": "managed",
    });
    let (after, warnings) = injected(&pod(wishes, json!({})));
    assert_eq!(warnings, Vec::<String>::new());
    let sidecar = &after["spec"]["initContainers"][0];
    assert_eq!(sidecar["image"], "other:2");
    assert_eq!(text(sidecar, "UNDERSTUDY_LOG"), Some("debug"));
    assert_eq!(text(sidecar, "UNDERSTUDY_KEYS"), Some("/var/run/secrets/understudy"));
    let requests = json!({ "cpu": "100m", "memory": "128Mi", "ephemeral-storage": "2Gi" });
    assert_eq!(sidecar["resources"]["requests"], requests);
    assert_eq!(sidecar["resources"]["limits"], json!({ "memory": "1Gi" }));
    let volumes = json!([
        { "name": "understudy-cache", "emptyDir": { "sizeLimit": "2Gi" } },
        { "name": "understudy-config", "configMap": { "name": "web-experiments", "optional": true } },
        { "name": "understudy-secret", "secret": { "secretName": "llm-keys" } },
    ]);
    assert_eq!(after["spec"]["volumes"], volumes);
    let app = &after["spec"]["containers"][0];
    assert_eq!(text(app, "OPENAI_API_KEY"), Some("kept-by-understudy"));
    assert_eq!(variable(app, "ANTHROPIC_BASE_URL"), None);
    assert!(app.get("volumeMounts").is_none(), "the application does not see the keys");

    for (name, value, said) in [
        ("confg", "x", "did you mean `config`?"),
        ("providers", "opnai", "did you mean `openai`?"),
        ("log-level", "loud", "known here: error, warn, info, debug, trace"),
        ("memory-limit", "lots", "write for example 256Mi"),
        ("memory-limit", "1Mi", "too little"),
        ("cache-size", "1e30", "for example 1Gi"),
        ("cache-size", "500000000000m", "Mi, Gi or Ti"),
        ("config", "Not A Name", "name of an object"),
        ("image", "a b", "for example registry.example"),
        ("inject-init", "yes", "known here: true, false"),
        ("key-mode", "managed", "without a Secret"),
        ("containers", "ap", "did you mean `app`?"),
    ] {
        let annotations = json!({ format!("understudy.dev/{name}"): value });
        let (after, warnings) = injected(&pod(annotations, json!({})));
        assert!(warnings.iter().any(|one| one.contains(said)), "{name}={value}: {warnings:?}");
        assert_eq!(after["spec"]["initContainers"][0]["name"], "understudy", "{name}={value}");
    }
}

#[test]
fn a_request_is_never_above_its_limit() {
    for (annotations, request, limit) in [
        (json!({ "understudy.dev/memory-request": "1Gi" }), "1Gi", "1Gi"),
        (json!({ "understudy.dev/memory-limit": "48Mi" }), "48Mi", "48Mi"),
        (
            json!({ "understudy.dev/memory-request": "1Gi", "understudy.dev/memory-limit": "512Mi" }),
            "512Mi",
            "512Mi",
        ),
    ] {
        let (after, _) = injected(&pod(annotations, json!({})));
        let resources = &after["spec"]["initContainers"][0]["resources"];
        assert_eq!(resources["requests"]["memory"], request);
        assert_eq!(resources["limits"]["memory"], limit);
    }
}

#[test]
fn containers_are_told_by_name_and_init_containers_on_request() {
    let told = |annotations: Value| {
        let mut before = pod(annotations, json!({}));
        before["spec"]["containers"].as_array_mut().unwrap().push(json!({ "name": "log" }));
        before["spec"]["initContainers"] = json!([{ "name": "migrate" }]);
        let (after, _) = injected(&before);
        let all = [&after["spec"]["initContainers"], &after["spec"]["containers"]];
        let all = all.into_iter().flat_map(|list| list.as_array().unwrap().clone());
        let told = all.filter(|one| variable(one, "UNDERSTUDY_URL").is_some());
        told.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(json!({})), ["app", "log"]);
    assert_eq!(told(json!({ "understudy.dev/containers": "app" })), ["app"]);
    assert_eq!(told(json!({ "understudy.dev/containers": "migrate, log" })), ["migrate", "log"]);
    assert_eq!(told(json!({ "understudy.dev/inject-init": "true" })), ["migrate", "app", "log"]);
}

#[test]
fn pods_that_cannot_have_it_are_left_alone_with_a_word() {
    let with = |path: &str, value: Value| {
        let mut pod = pod(json!({}), json!({}));
        pod[path] = value;
        pod
    };
    let spec = |name: &str, value: Value| {
        let mut pod = pod(json!({}), json!({}));
        pod["spec"][name] = value;
        pod
    };
    let label =
        |value: &str| with("metadata", json!({ "labels": { "understudy.dev/inject": value } }));
    for (pod, said) in [
        (spec("hostNetwork", json!(true)), Some("host's network")),
        (spec("os", json!({ "name": "windows" })), Some("Windows")),
        (label("flase"), Some("neither")),
        (label("false"), None),
        (with("metadata", json!({ "annotations": { "understudy.dev/inject": "false" } })), None),
        (
            with("metadata", json!({ "annotations": { "kubernetes.io/config.mirror": "x" } })),
            Some("static"),
        ),
    ] {
        let Injection { patch, warnings } = inject(&pod);
        assert_eq!(patch, [], "{pod}");
        assert_eq!(warnings.len(), usize::from(said.is_some()), "{warnings:?}");
        assert!(warnings.iter().all(|one| one.contains(said.unwrap())), "{warnings:?}");
    }
}

#[test]
fn ports_that_are_taken_and_a_volume_of_the_users_own() {
    let mut before = pod(json!({}), json!({ "ports": [{ "containerPort": 4100 }] }));
    let claim = json!({
        "name": "understudy-cache", "persistentVolumeClaim": { "claimName": "answers" },
    });
    before["spec"]["volumes"] = json!([claim]);
    let (after, warnings) = injected(&before);
    assert!(warnings[0].contains("app listens on 4100"), "{warnings:?}");
    let volumes = after["spec"]["volumes"].as_array().unwrap();
    assert_eq!(volumes.len(), 2);
    assert_eq!(volumes[0], claim);
}

#[test]
fn what_is_no_pod_is_an_error_that_says_why() {
    for (pod, said) in [
        (json!(null), "pod has to be an object"),
        (json!([]), "pod has to be an object"),
        (json!({}), "spec has to be an object"),
        (json!({ "spec": 1 }), "spec has to be an object"),
        (json!({ "spec": {} }), "containers has to be a list"),
        (json!({ "spec": { "containers": [] } }), "containers has to be a list"),
        (json!({ "spec": { "containers": [1] } }), "a container has to be an object"),
        (json!({ "spec": { "containers": [{ "env": {} }] } }), "env has to be a list"),
        (json!({ "spec": { "containers": [{}], "volumes": 1 } }), "volumes has to be a list"),
        (
            json!({ "metadata": { "labels": 1 }, "spec": { "containers": [{}] } }),
            "labels has to be an object",
        ),
    ] {
        let error = sidecar::inject(&pod, &settings()).unwrap_err();
        assert!(error.detail.contains(said), "{pod}: {}", error.detail);
    }
}

#[test]
fn captured_reviews_get_the_patch_they_should() {
    let Some(folder) = shared::data("admission") else { return };
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // They were captured with a forerunner, which had another name.
        let text = fs::read_to_string(&path).unwrap().replace("splitproxy", "understudy");
        let review: Value = serde_json::from_str(&text).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let pod = &review["request"]["object"];
        let Injection { patch, warnings } = inject(pod);
        let is_done = ["reinvoked", "already", "raw-01"].iter().any(|part| name.contains(part));
        let is_refused = name == "raw-00.json";
        assert_eq!(patch.is_empty(), is_done || is_refused, "{name}");
        let is_elsewhere = name.contains("proxyenv");
        assert_eq!(warnings.is_empty(), !is_refused && !is_elsewhere, "{name}: {warnings:?}");
        let (after, _) = injected(pod);
        assert_eq!(inject(&after).patch, [], "{name}");
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

fn anything() -> impl Strategy<Value = Value> {
    let words = [
        "metadata",
        "labels",
        "annotations",
        "spec",
        "containers",
        "initContainers",
        "env",
        "name",
        "value",
        "understudy",
        "understudy.dev/inject",
        "understudy.dev/cache-size",
        "true",
        "HTTP_PROXY",
        "NO_PROXY",
        "valueFrom",
        "volumes",
        "hostNetwork",
        "ports",
        "containerPort",
    ];
    let word = prop::sample::select(words.to_vec());
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        let members = prop::collection::vec((word.clone(), inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            members.prop_map(|all| all.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    /// Whatever the parts of a pod are, the answer is a patch that fits, or a word.
    #[test]
    fn hostile_pods_are_answered(metadata in anything(), spec in anything(), env in anything()) {
        let whole = json!({ "metadata": metadata, "spec": spec });
        let inner = json!({ "metadata": metadata, "spec": {
            "containers": [{ "name": "a", "env": env }, spec], "volumes": spec, "initContainers": [],
        }});
        for pod in [metadata, whole, inner] {
            let Ok(Injection { patch, .. }) = sidecar::inject(&pod, &settings()) else { continue };
            let mut after = pod.clone();
            sidecar::apply(&mut after, &patch);
            if !patch.is_empty() {
                prop_assert_eq!(&after["spec"]["initContainers"][0]["name"], "understudy");
                prop_assert_eq!(inject(&after).patch, []);
            }
        }
    }
}
