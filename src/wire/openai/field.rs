//! The fields of a JSON object, taken out one by one by those who understand them.

use serde_json::Map;
use serde_json::Value;

use crate::error::Error;
use crate::error::Result;
use crate::wire::json::bad;

/// An object and where it stands in the body; what nobody takes is left at the end.
pub struct Fields {
    map: Map<String, Value>,
    path: String,
}

impl Fields {
    /// The fields of what stands at `path`, which is empty for the body.
    ///
    /// # Errors
    /// It is no object.
    pub fn of(value: Value, path: impl Into<String>) -> Result<Self> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            _ => Err(bad(format!("`{path}` must be an object"))),
        }
    }

    /// Where a field stands.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A field as it is, without taking it; null counts as absent.
    pub fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// A field whatever it holds; null counts as absent.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    /// Gives back what was taken and not used up.
    pub fn put(&mut self, key: &str, value: Value) {
        self.map.insert(key.to_owned(), value);
    }

    /// A string.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    /// A string that must be there.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn required_text(&mut self, key: &str) -> Result<String> {
        let text = self.text(key)?;
        text.ok_or_else(|| self.wrong(key, "a string"))
    }

    /// A number.
    ///
    /// # Errors
    /// It is something else.
    pub fn number(&mut self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.wrong(key, "a number"))
    }

    /// A whole number, 0 or more.
    ///
    /// # Errors
    /// It is something else.
    pub fn whole(&mut self, key: &str) -> Result<Option<u64>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        whole(&value).map(Some).ok_or_else(|| self.wrong(key, "a whole number, 0 or more"))
    }

    /// A whole number of either sign.
    ///
    /// # Errors
    /// It is something else.
    pub fn signed(&mut self, key: &str) -> Result<Option<i64>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let signed = value.as_i64().or_else(|| whole(&value).and_then(|n| n.try_into().ok()));
        signed.map(Some).ok_or_else(|| self.wrong(key, "a whole number"))
    }

    /// Yes or no.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// A list.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&mut self, key: &str) -> Result<Option<Vec<Value>>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.wrong(key, "a list")),
        }
    }

    /// An object.
    ///
    /// # Errors
    /// It is something else.
    pub fn object(&mut self, key: &str) -> Result<Option<Self>> {
        let value = self.take(key);
        value.map(|value| Self::of(value, self.at(key))).transpose()
    }

    /// The complaint that a field is not what it must be.
    pub fn wrong(&self, key: &str, expected: &str) -> Error {
        bad(format!("`{}` must be {expected}", self.at(key)))
    }

    /// What nobody took; nulls say nothing.
    pub fn rest(self) -> Map<String, Value> {
        self.map.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    /// Leaves what nobody took of the object `key` there again.
    pub fn leave(&mut self, key: &str, inner: Self) {
        let rest = inner.rest();
        if !rest.is_empty() {
            self.put(key, Value::Object(rest));
        }
    }
}

/// Also `5.0`, which some languages write for 5; nothing beyond what a double holds exactly.
fn whole(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    let rounded = |n: f64| (n.fract() == 0.0 && (0.0..=EXACT).contains(&n)).then_some(n as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(rounded))
}
