//! Reads the fields of a request strictly, and names the place of one that is not as it must be.

use serde_json::Map;
use serde_json::Value;

use crate::error::Result;
use crate::wire::json::bad;

/// The fields of a JSON object that are still to be read, and where it stands in the request.
#[derive(Debug)]
pub struct Fields {
    fields: Map<String, Value>,
    path: String,
}

impl Fields {
    /// The fields of an object at `path`; the path of the whole body is empty.
    ///
    /// # Errors
    /// It is no object.
    pub fn of(value: Value, path: impl Into<String>) -> Result<Self> {
        let path = path.into();
        match value {
            Value::Object(fields) => Ok(Self { fields, path }),
            _ => Err(bad(format!("`{path}` must be an object"))),
        }
    }

    /// Where a field stands.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where the object stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether there is a field that is not null.
    pub fn has(&self, key: &str) -> bool {
        self.fields.get(key).is_some_and(|value| !value.is_null())
    }

    /// Takes a field; null is as good as absent.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.fields.shift_remove(key).filter(|value| !value.is_null())
    }

    /// Takes a string.
    ///
    /// # Errors
    /// It is something else; so with the others below.
    pub fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    /// Takes a string that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn needed_text(&mut self, key: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| bad(format!("`{}` is missing", self.at(key))))
    }

    /// Takes a whole number from 0.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn count(&mut self, key: &str) -> Result<Option<u64>> {
        let value = self.take(key);
        let wrong = || self.wrong(key, "a whole number, 0 or more");
        value.map(|value| value.as_u64().ok_or_else(wrong)).transpose()
    }

    /// Takes a whole number.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn integer(&mut self, key: &str) -> Result<Option<i64>> {
        let value = self.take(key);
        let wrong = || self.wrong(key, "a whole number");
        value.map(|value| value.as_i64().ok_or_else(wrong)).transpose()
    }

    /// Takes a number.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn number(&mut self, key: &str) -> Result<Option<f64>> {
        let value = self.take(key);
        let wrong = || self.wrong(key, "a number");
        value.map(|value| value.as_f64().ok_or_else(wrong)).transpose()
    }

    /// Takes a yes or no.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        let value = self.take(key);
        let wrong = || self.wrong(key, "true or false");
        value.map(|value| value.as_bool().ok_or_else(wrong)).transpose()
    }

    /// Takes a list; an absent one is empty.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn list(&mut self, key: &str) -> Result<Vec<Value>> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong(key, "a list")),
        }
    }

    /// Takes a list of strings; an absent one is empty.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn texts(&mut self, key: &str) -> Result<Vec<String>> {
        let items = self.list(key)?;
        let text = |item: Value| match item {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong(key, "a list of strings")),
        };
        items.into_iter().map(text).collect()
    }

    /// Takes an object.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn object(&mut self, key: &str) -> Result<Option<Self>> {
        let value = self.take(key);
        value.map(|value| Self::of(value, self.at(key))).transpose()
    }

    /// What nobody took.
    pub fn rest(self) -> Map<String, Value> {
        self.fields
    }

    /// What nobody took, as it may go back under `key` of what holds the object.
    pub fn rest_into(self, key: &str, holder: &mut Map<String, Value>) {
        if !self.fields.is_empty() {
            holder.insert(key.to_owned(), Value::Object(self.fields));
        }
    }

    fn wrong(&self, key: &str, expected: &str) -> crate::error::Error {
        bad(format!("`{}` must be {expected}", self.at(key)))
    }
}
