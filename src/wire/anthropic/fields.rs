//! Takes the fields of a JSON object one by one, and says where one of the wrong type stands.

use serde_json::Map;
use serde_json::Value;

use crate::error::Result;
use crate::wire::json::bad;

/// The fields of an object that have not been taken yet; `null` counts as absent.
pub struct Fields {
    fields: Map<String, Value>,
    path: String,
}

impl Fields {
    /// The fields of the object at `path`, which is empty for the whole body.
    pub fn new(mut fields: Map<String, Value>, path: &str) -> Self {
        fields.retain(|_, value| !value.is_null());
        Self { fields, path: path.to_owned() }
    }

    /// The fields of the object at `path`.
    ///
    /// # Errors
    /// It is something else.
    pub fn of(value: Value, path: &str) -> Result<Self> {
        match value {
            Value::Object(fields) => Ok(Self::new(fields, path)),
            _ => Err(bad(format!("`{path}` must be an object"))),
        }
    }

    /// Where a field of this object stands.
    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whatever stands there.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.shift_remove(name)
    }

    /// Takes a field that says nothing new.
    pub fn drop_field(&mut self, name: &str) {
        self.fields.shift_remove(name);
    }

    /// Puts a field back.
    pub fn keep(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_owned(), value);
    }

    /// What is left.
    pub fn rest(self) -> Map<String, Value> {
        self.fields
    }

    /// A string.
    ///
    /// # Errors
    /// It is something else; so for the others.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    /// A string that has to be there.
    pub fn required_text(&mut self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| bad(format!("`{}` is missing", self.path(name))))
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A whole number from 0.
    pub fn count(&mut self, name: &str) -> Result<Option<u64>> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => {
                let count = value.as_u64().ok_or_else(|| self.wrong(name, "a whole number"))?;
                Ok(Some(count))
            }
        }
    }

    /// A number.
    pub fn number(&mut self, name: &str) -> Result<Option<f64>> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => {
                let number = value.as_f64().ok_or_else(|| self.wrong(name, "a number"))?;
                Ok(Some(number))
            }
        }
    }

    /// A list.
    pub fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.wrong(name, "a list")),
        }
    }

    /// An object.
    pub fn object(&mut self, name: &str) -> Result<Option<Self>> {
        let path = self.path(name);
        self.take(name).map(|value| Self::of(value, &path)).transpose()
    }

    /// An object whose fields, `null` ones too, are the application's.
    pub fn foreign_object(&mut self, name: &str) -> Result<Option<Map<String, Value>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(fields)),
            Some(_) => Err(self.wrong(name, "an object")),
        }
    }

    fn wrong(&self, name: &str, expected: &str) -> crate::error::Error {
        bad(format!("`{}` must be {expected}", self.path(name)))
    }
}
