//! What a variant changes of a request, in the dialect in which its target is asked.

mod system;
mod tools;

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::request::Tool;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::SystemChange;
use crate::experiment::Variant;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::json::merge_patch;
use crate::wire::json::not_readable;

impl Variant {
    /// Whether it changes nothing of a request but who answers.
    pub fn is_plain(&self) -> bool {
        self.patch.is_empty() && self.system.is_none() && self.tools.is_none()
    }

    /// Everything it changes, as text that is equal exactly when the changes are; empty without
    /// any.
    pub fn changes(&self) -> String {
        if self.is_plain() {
            return String::new();
        }
        let patch = sorted(&Value::Object(self.patch.clone()));
        let system = self.system.as_ref().map(|change| match change {
            SystemChange::Replace(text) => json!({"replace": text}),
            SystemChange::Prepend(text) => json!({"prepend": text}),
            SystemChange::Append(text) => json!({"append": text}),
        });
        let tools = self.tools.as_ref().map(|tools| tools.iter().map(told).collect::<Vec<_>>());
        match (system, tools) {
            // An object, where everything else is a list.
            (None, None) => patch.to_string(),
            (system, tools) => json!([patch, system, tools]).to_string(),
        }
    }

    /// Changes a request that is written in `dialect`: first the system prompt and the tools, then
    /// whatever the patch says. A plain variant leaves every byte.
    ///
    /// # Errors
    /// The dialect has no place for what is changed, or the body is not JSON.
    pub fn change(
        &self,
        mut written: Written,
        dialect: DialectName,
        to: &Recipient<'_>,
    ) -> Result<Written> {
        if self.is_plain() {
            return Ok(written);
        }
        let mut body: Value =
            serde_json::from_slice(&written.body).map_err(|error| not_readable(&error, "JSON"))?;
        if let Value::Object(fields) = &mut body {
            if let Some(change) = &self.system {
                let is_done = system::change(fields, dialect, change);
                is_done.then_some(()).ok_or_else(|| self.homeless("the system prompt", dialect))?;
            }
            if let Some(tools) = &self.tools {
                if !tools::is_known(dialect) {
                    return Err(self.homeless("the tools", dialect));
                }
                tools::replace(fields, dialect, tools, to, &mut written.losses)
                    .map_err(|error| Error { detail: self.named(&error.detail), ..error })?;
            }
        }
        if !self.patch.is_empty() {
            merge_patch(&mut body, &self.patch);
        }
        written.body = Bytes::from(body.to_string());
        Ok(written)
    }

    fn homeless(&self, what: &str, dialect: DialectName) -> Error {
        let dialect = dialect.as_str();
        let detail = format!("it changes {what}, which {dialect} requests do not have");
        Error::new(Kind::Config, self.named(&detail))
    }

    fn named(&self, detail: &str) -> String {
        format!("the variant `{}`: {detail}", self.name)
    }
}

/// A tool as the key of a cache has it.
fn told(tool: &Tool) -> Value {
    match tool {
        Tool::Function { name, description, parameters, strict, rest } => {
            let parameters = parameters.as_ref().map(sorted);
            json!([name, description, parameters, strict, sorted(&Value::Object(rest.clone()))])
        }
        Tool::Own(own) => sorted(own),
    }
}

/// The same value with the fields of every object in order, so that equal values are equal bytes.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            let fields = fields.into_iter().map(|(name, value)| (name.clone(), sorted(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        _ => value.clone(),
    }
}
