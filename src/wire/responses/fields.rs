//! The fields of one JSON object of a request, taken out one by one with errors that name the path.

use serde_json::Map;
use serde_json::Value;

use crate::error::Result;
use crate::wire::json::bad;

/// An object that is being read; what is left at the end is its `rest`.
pub struct Fields {
    map: Map<String, Value>,
    path: String,
}

impl Fields {
    /// The object at `path`.
    ///
    /// # Errors
    /// It is none.
    pub fn new(value: Value, path: impl Into<String>) -> Result<Self> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            _ => Err(bad(format!("`{path}` must be an object"))),
        }
    }

    /// The path of one of its fields.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The field as it stands, if it is not null.
    pub fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// The field's text, if it is one.
    pub fn word(&self, key: &str) -> Option<&str> {
        self.peek(key).and_then(Value::as_str)
    }

    /// Takes the field; null counts as absent, as everywhere in this API.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    /// Puts a field back that its reader has no use for.
    pub fn keep(&mut self, key: &str, value: Value) {
        self.map.insert(key.to_owned(), value);
    }

    /// A string.
    ///
    /// # Errors
    /// It is something else.
    pub fn string(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(bad(format!("`{}` must be a string", self.at(key)))),
        }
    }

    /// A string that must be there.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn required(&mut self, key: &str) -> Result<String> {
        let text = self.string(key)?;
        text.ok_or_else(|| bad(format!("`{}` is missing: it must be a string", self.at(key))))
    }

    /// True or false.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        self.checked(key, "true or false", Value::as_bool)
    }

    /// A whole number from 0.
    ///
    /// # Errors
    /// It is something else.
    pub fn whole(&mut self, key: &str) -> Result<Option<u64>> {
        self.checked(key, "a whole number from 0", Value::as_u64)
    }

    /// A number.
    ///
    /// # Errors
    /// It is something else.
    pub fn number(&mut self, key: &str) -> Result<Option<f64>> {
        self.checked(key, "a number", Value::as_f64)
    }

    /// A list.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&mut self, key: &str) -> Result<Option<Vec<Value>>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(bad(format!("`{}` must be a list", self.at(key)))),
        }
    }

    /// An object.
    ///
    /// # Errors
    /// It is something else.
    pub fn object(&mut self, key: &str) -> Result<Option<Self>> {
        let value = self.take(key);
        value.map(|value| Self::new(value, self.at(key))).transpose()
    }

    /// What nobody took; nulls say nothing.
    pub fn rest(mut self) -> Map<String, Value> {
        self.map.retain(|_, value| !value.is_null());
        self.map
    }

    /// The whole object again.
    pub fn whole_again(self) -> Value {
        Value::Object(self.map)
    }

    fn checked<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let read = read(&value).map(Some);
        read.ok_or_else(|| bad(format!("`{}` must be {expected}", self.at(key))))
    }
}
