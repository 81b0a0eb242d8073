//! Takes the fields of a Gemini request one by one, in either spelling, and keeps what is left.

use serde_json::Map;
use serde_json::Value;

use crate::error::Result;
use crate::wire::json::bad;

/// An object of a request with the place it stands at.
///
/// Google's JSON takes `topP` and `top_p` alike, whole numbers in quotes, and null for absence.
pub struct Fields {
    map: Map<String, Value>,
    path: String,
}

impl Fields {
    /// The fields of `value`.
    ///
    /// # Errors
    /// It is no object.
    pub fn new(value: Value, path: impl Into<String>) -> Result<Self> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            _ => Err(bad(format!("`{path}` must be an object"))),
        }
    }

    /// Where the field `name` stands.
    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether the field is there and not null.
    pub fn has(&self, name: &str) -> bool {
        let snake = snake(name);
        [name, &snake].into_iter().any(|key| self.map.get(key).is_some_and(|it| !it.is_null()))
    }

    /// Takes the field, given in camel case.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let camel = self.map.shift_remove(name).filter(|value| !value.is_null());
        camel.or_else(|| self.map.shift_remove(&snake(name)).filter(|value| !value.is_null()))
    }

    /// Takes a string.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    /// Takes a truth value.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// Takes a number.
    ///
    /// # Errors
    /// It is something else.
    pub fn number(&mut self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
        number
            .filter(|number| number.is_finite())
            .map(Some)
            .ok_or_else(|| self.wrong(name, "a number"))
    }

    /// Takes a whole number, which may be negative.
    ///
    /// # Errors
    /// It is something else.
    pub fn whole(&mut self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let quoted = || value.as_str()?.parse().ok();
        let number = value.as_i64().or_else(|| whole_float(&value)).or_else(quoted);
        number.map(Some).ok_or_else(|| self.wrong(name, "a whole number"))
    }

    /// Takes a count.
    ///
    /// # Errors
    /// It is something else, or negative.
    pub fn count(&mut self, name: &str) -> Result<Option<u64>> {
        let Some(number) = self.whole(name)? else { return Ok(None) };
        u64::try_from(number).map(Some).map_err(|_| self.wrong(name, "0 or more"))
    }

    /// Takes a list.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.wrong(name, "a list")),
        }
    }

    /// Takes a list of strings.
    ///
    /// # Errors
    /// It is something else.
    pub fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(items) = self.list(name)? else { return Ok(None) };
        let text = |(at, item): (usize, Value)| match item {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong(&format!("{name}[{at}]"), "a string")),
        };
        items.into_iter().enumerate().map(text).collect::<Result<_>>().map(Some)
    }

    /// Takes an object.
    ///
    /// # Errors
    /// It is something else.
    pub fn object(&mut self, name: &str) -> Result<Option<Self>> {
        let value = self.take(name);
        value.map(|value| Self::new(value, self.at(name))).transpose()
    }

    /// What was not taken.
    pub fn rest(self) -> Map<String, Value> {
        self.map
    }

    /// What was not taken, under names that say below which field it stood.
    pub fn rest_below(self, name: &str, out: &mut Map<String, Value>) {
        out.extend(self.map.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
    }

    fn wrong(&self, name: &str, expected: &str) -> crate::error::Error {
        bad(format!("`{}` must be {expected}", self.at(name)))
    }
}

/// The fields whose unknown parts [`Fields::rest_below`] names with dots.
const DOTTED: &[&str] = &[
    "fileData",
    "functionCall",
    "functionResponse",
    "generationConfig",
    "inlineData",
    "toolConfig",
];

/// Puts fields back where [`Fields::rest`] and [`Fields::rest_below`] found them.
pub fn put_back(into: &mut Map<String, Value>, rest: &Map<String, Value>) {
    for (key, value) in rest {
        put_at(into, key, value);
    }
}

fn put_at(into: &mut Map<String, Value>, key: &str, value: &Value) {
    match key.split_once('.') {
        Some((head, tail)) if DOTTED.contains(&head) || NESTED.contains(&head) => {
            let inner = into.entry(head).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put_at(inner, tail, value);
            }
        }
        _ => {
            into.insert(key.to_owned(), value.clone());
        }
    }
}

/// As [`DOTTED`], one level further down.
const NESTED: &[&str] = &["functionCallingConfig", "thinkingConfig"];

fn whole_float(value: &Value) -> Option<i64> {
    let number = value.as_f64()?;
    // Up to 2^53 a float holds whole numbers exactly.
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
