//! The container and its volumes.

use serde_json::Value;
use serde_json::json;

use crate::sidecar::NAME;
use crate::sidecar::wish::KeyMode;
use crate::sidecar::wish::Wish;

/// The port of the health listener, the only one that the pod's address has.
pub const HEALTH_PORT: u16 = 4102;

/// The ports of the data plane, the admin plane and the health listener.
pub const PORTS: [u16; 3] = [4100, 4101, HEALTH_PORT];

/// Where the ConfigMap is, and where the program looks for its configuration.
const CONFIG: &str = "/etc/understudy";

/// Where answers and pairs are kept.
const CACHE: &str = "/var/lib/understudy";

/// Where the Secret is.
pub const SECRETS: &str = "/var/run/secrets/understudy";

/// The user of images that have none, who owns nothing on the node.
const USER: u32 = 65532;

/// A native sidecar: an init container that goes on running, for Kubernetes 1.29 and later.
///
/// It starts before the application and ends after it, and does not keep Jobs from ending. There
/// is no `preStop`, which would run at once with the application's own, and no limit of the
/// processor, which would make users wait.
pub fn container(image: &str, wish: &Wish) -> Value {
    json!({
        "name": NAME,
        "image": image,
        "restartPolicy": "Always",
        "args": [
            "serve", "--listen", "127.0.0.1:4100", "--health", format!("0.0.0.0:{HEALTH_PORT}"),
            "--data-dir", CACHE, "--disk", wish.cache_size, "--experiments", CONFIG,
        ],
        // Without a name the configuration is the one of this folder, if there is one.
        "workingDir": CONFIG,
        "env": environment(wish),
        "ports": [{ "name": NAME, "containerPort": HEALTH_PORT, "protocol": "TCP" }],
        "startupProbe": probe("/readyz", 1, 120),
        "readinessProbe": probe("/readyz", 5, 3),
        "livenessProbe": probe("/livez", 10, 3),
        "resources": {
            "requests": {
                "cpu": wish.cpu_request,
                "memory": wish.memory_request,
                "ephemeral-storage": wish.cache_size,
            },
            "limits": { "memory": wish.memory_limit },
        },
        // All that the restricted Pod Security Standard wants, said here because a pod may say
        // otherwise for its own containers.
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(wish),
    })
}

/// One worker thread is enough beside one application and spends the least.
fn environment(wish: &Wish) -> Value {
    let mut env =
        vec![variable("UNDERSTUDY_THREADS", "1"), variable("UNDERSTUDY_LOG", &wish.log_level)];
    if wish.key_mode == KeyMode::Managed {
        env.push(variable("UNDERSTUDY_KEYS", SECRETS));
    }
    Value::Array(env)
}

/// A variable of a container.
pub fn variable(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn probe(path: &str, period_s: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": NAME },
        "periodSeconds": period_s,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    })
}

fn mounts(wish: &Wish) -> Value {
    let mut mounts = vec![
        json!({ "name": "understudy-cache", "mountPath": CACHE }),
        json!({ "name": "understudy-config", "mountPath": CONFIG, "readOnly": true }),
    ];
    if wish.secret.is_some() {
        let name = "understudy-secret";
        mounts.push(json!({ "name": name, "mountPath": SECRETS, "readOnly": true }));
    }
    Value::Array(mounts)
}

/// The volumes of the pod that go with it.
///
/// The ConfigMap may be missing: then the sidecar forwards and caches. The Secret may not be:
/// the pod waits for it.
pub fn volumes(wish: &Wish) -> Vec<Value> {
    let mut volumes = vec![
        json!({ "name": "understudy-cache", "emptyDir": { "sizeLimit": wish.cache_size } }),
        json!({
            "name": "understudy-config",
            "configMap": { "name": wish.config, "optional": true },
        }),
    ];
    if let Some(secret) = &wish.secret {
        volumes.push(json!({ "name": "understudy-secret", "secret": { "secretName": secret } }));
    }
    volumes
}
