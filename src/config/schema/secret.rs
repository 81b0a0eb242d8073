//! Keys, and the places where they are kept.

use serde_json::Value;
use serde_json::json;

use super::kind;
use super::section;
use crate::config::credential::MAX_WEIGHT;

fn variable() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})
}

/// A key that is known from the start.
pub fn at_hand() -> Value {
    json!({"oneOf": plain().map(|source| section(vec![source.clone()], &[source.0]))})
}

fn plain() -> [(&'static str, &'static str, Value); 3] {
    [
        ("env", "An environment variable.", variable()),
        ("file", "A file.", kind::text()),
        ("value", "The key itself.", kind::text()),
    ]
}

/// A key of a pool.
pub fn credential() -> Value {
    let vault = section(
        vec![
            ("path", "Its mount, `data`, and its path.", kind::text()),
            ("field", "The field that holds the key.", kind::text()),
        ],
        &["path", "field"],
    );
    let aws = section(
        vec![
            ("secret", "Its name or ARN.", kind::text()),
            ("field", "The field of a JSON object that holds the key.", kind::text()),
            ("region", "Where it is; AWS_REGION.", kind::text()),
        ],
        &["secret"],
    );
    let stores = [
        ("vault", "A secret in Vault or OpenBao.", vault),
        ("aws", "A secret in AWS Secrets Manager.", aws),
    ];
    let weighted = |source: (&'static str, &'static str, Value)| {
        let name = source.0;
        let weight = kind::count(1, MAX_WEIGHT, Some(1));
        section(vec![source, ("weight", "Its share, beside the others'.", weight)], &[name])
    };
    let sources: Vec<Value> = plain().into_iter().chain(stores).map(weighted).collect();
    json!({"oneOf": sources})
}

/// How stores of secrets are reached.
pub fn secrets() -> Value {
    let given = || {
        json!({"oneOf": [
            section(vec![("env", "An environment variable.", variable())], &["env"]),
            section(vec![("file", "A file.", kind::text())], &["file"]),
        ]})
    };
    let mount = || ("mount", "Where the method is mounted.", kind::text());
    let app_role = section(
        vec![
            ("role_id", "The role's id.", kind::text()),
            ("secret_id", "What goes with it.", given()),
            mount(),
        ],
        &["role_id", "secret_id"],
    );
    let kubernetes = section(
        vec![
            ("role", "The role in Vault.", kind::text()),
            ("token_file", "The service account's token.", kind::text()),
            mount(),
        ],
        &["role"],
    );
    let ways = [
        ("token", "A token.", given()),
        ("app_role", "A role's id and secret.", app_role),
        ("kubernetes", "The pod's service account.", kubernetes),
    ];
    let auth = json!({"oneOf": ways.map(|way| {
        let name = way.0;
        section(vec![way], &[name])
    })});
    let url = || json!({"type": "string", "pattern": "^https?://[^@?#]+$"});
    let vault = vec![
        ("address", "Where it is; VAULT_ADDR.", url()),
        ("namespace", "Its namespace; VAULT_NAMESPACE.", kind::text()),
        ("ca_file", "Who its certificate is from; VAULT_CACERT.", kind::text()),
        ("auth", "Who asks; VAULT_TOKEN.", auth),
    ];
    let aws = vec![
        ("region", "Where secrets are; AWS_REGION.", kind::text()),
        ("endpoint", "What is asked instead of AWS; AWS_ENDPOINT_URL.", url()),
    ];
    let fields = vec![
        ("vault", "A Vault or OpenBao server.", section(vault, &[])),
        ("aws", "AWS Secrets Manager.", section(aws, &[])),
        ("refresh", "Between two looks at a secret; 60s.", kind::duration()),
    ];
    section(fields, &[])
}
