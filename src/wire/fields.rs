//! Reads the fields of a request strictly, and names the place of one that is not as it must be.

use serde_json::Map;
use serde_json::Value;

use crate::error::Error;
use crate::error::Result;
use crate::wire::json::bad;

/// The fields of a JSON object that are still to be read, and where it stands in the request.
///
/// Null counts as absent everywhere.
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

    /// A field as it is, without taking it.
    pub fn peek(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// A field's text, if it is one, without taking it.
    pub fn word(&self, key: &str) -> Option<&str> {
        self.peek(key).and_then(Value::as_str)
    }

    /// Whether there is a field of that name.
    pub fn has(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    /// Takes a field, whatever it holds.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.fields.shift_remove(key).filter(|value| !value.is_null())
    }

    /// Puts a field back that its reader has no use for.
    pub fn keep(&mut self, key: &str, value: Value) {
        self.fields.insert(key.to_owned(), value);
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
    pub fn required_text(&mut self, key: &str) -> Result<String> {
        let text = self.text(key)?;
        text.ok_or_else(|| bad(format!("`{}` is missing: it must be a string", self.at(key))))
    }

    /// Takes a whole number from 0; also `5.0`, which some languages write for 5.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn count(&mut self, key: &str) -> Result<Option<u64>> {
        self.checked(key, "a whole number, 0 or more", whole)
    }

    /// Takes a whole number of either sign.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn integer(&mut self, key: &str) -> Result<Option<i64>> {
        let read = |value: &Value| value.as_i64().or_else(|| whole(value)?.try_into().ok());
        self.checked(key, "a whole number", read)
    }

    /// Takes a number.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn number(&mut self, key: &str) -> Result<Option<f64>> {
        self.checked(key, "a number", Value::as_f64)
    }

    /// Takes a yes or no.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        self.checked(key, "true or false", Value::as_bool)
    }

    /// Takes a list.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn list(&mut self, key: &str) -> Result<Option<Vec<Value>>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.wrong(key, "a list")),
        }
    }

    /// Takes a list; an absent one is empty.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn items(&mut self, key: &str) -> Result<Vec<Value>> {
        self.list(key).map(Option::unwrap_or_default)
    }

    /// Takes a list of strings; an absent one is empty.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn texts(&mut self, key: &str) -> Result<Vec<String>> {
        let items = self.items(key)?;
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

    /// Takes an object whose fields, nulls too, are the application's.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn foreign_object(&mut self, key: &str) -> Result<Option<Map<String, Value>>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(fields)),
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }

    /// The complaint that a field is not what it must be.
    pub fn wrong(&self, key: &str, expected: &str) -> Error {
        bad(format!("`{}` must be {expected}", self.at(key)))
    }

    /// What nobody took; nulls say nothing.
    pub fn rest(mut self) -> Map<String, Value> {
        self.fields.retain(|_, value| !value.is_null());
        self.fields
    }

    /// What nobody took, as it may go back under `key` of what holds the object.
    pub fn rest_into(self, key: &str, holder: &mut Map<String, Value>) {
        let rest = self.rest();
        if !rest.is_empty() {
            holder.insert(key.to_owned(), Value::Object(rest));
        }
    }

    /// Leaves what nobody took of the object `key` there again.
    pub fn leave(&mut self, key: &str, inner: Self) {
        inner.rest_into(key, &mut self.fields);
    }

    /// The whole object again.
    pub fn whole_again(self) -> Value {
        Value::Object(self.fields)
    }

    fn checked<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| self.wrong(key, expected))
    }
}

/// A whole number from 0, also written as `5.0`; nothing beyond what a double holds exactly.
pub fn whole(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    let rounded = |n: f64| (n.fract() == 0.0 && (0.0..=EXACT).contains(&n)).then_some(n as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(rounded))
}
