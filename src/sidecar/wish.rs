//! What a pod may ask for by annotation, and what it gets that asks for nothing.

use serde_json::Map;
use serde_json::Value;

use crate::config::nearest;
use crate::error::Error;
use crate::error::Kind;
use crate::sidecar::PREFIX;
use crate::sidecar::STATUS;
use crate::sidecar::quantity;
use crate::sidecar::sdk;
use crate::sidecar::sdk::Sdk;

/// The annotations, without their prefix.
pub const NAMES: [&str; 12] = [
    "cache-size",
    "config",
    "containers",
    "cpu-request",
    "image",
    "inject-init",
    "key-mode",
    "log-level",
    "memory-limit",
    "memory-request",
    "providers",
    "secret",
];

/// Which logs there are.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The least cache volume, bytes: a third of it has to hold answers.
const LEAST_CACHE: f64 = 48.0 * 1_048_576.0;

/// The least memory to run in, bytes.
const LEAST_MEMORY: f64 = 32.0 * 1_048_576.0;

/// The longest value that is looked at, bytes.
const LONGEST: usize = 4096;

/// Whose keys providers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMode {
    /// The application's own.
    Passthrough,
    /// Those of the Secret; the application needs none.
    Managed,
}

/// What a pod gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// The image, where it is not the one of the cluster.
    pub image: Option<String>,
    /// The ConfigMap with the configuration and the experiments.
    pub config: String,
    /// The Secret with keys, which only the sidecar sees.
    pub secret: Option<String>,
    /// Whose keys providers see.
    pub key_mode: KeyMode,
    /// What is logged.
    pub log_level: String,
    /// Of the processor, as a quantity.
    pub cpu_request: String,
    /// Of memory, as a quantity.
    pub memory_request: String,
    /// The most memory, as a quantity.
    pub memory_limit: String,
    /// The size of the cache's volume, as a quantity.
    pub cache_size: String,
    /// The containers that are told of the sidecar; all of them where none is named.
    pub containers: Vec<String>,
    /// The providers whose SDKs are told.
    pub providers: Vec<&'static Sdk>,
    /// Whether init containers are told, too.
    pub inject_init: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            image: None,
            config: "understudy".to_owned(),
            secret: None,
            key_mode: KeyMode::Passthrough,
            log_level: "info".to_owned(),
            cpu_request: "50m".to_owned(),
            memory_request: "64Mi".to_owned(),
            memory_limit: "256Mi".to_owned(),
            cache_size: "1Gi".to_owned(),
            containers: Vec::new(),
            providers: ["openai", "anthropic", "gemini"]
                .into_iter()
                .filter_map(sdk::find)
                .collect(),
            inject_init: false,
        }
    }
}

/// Why a value is not taken, and what to write instead.
pub type Wrong = String;

impl Wish {
    /// The defaults with what the annotations say; one that is wrong is passed over, with a
    /// warning.
    pub fn read(defaults: &Self, annotations: Option<&Map<String, Value>>) -> (Self, Vec<String>) {
        let (mut wish, mut warnings) = (defaults.clone(), Vec::new());
        for (key, value) in annotations.into_iter().flatten() {
            let Some(name) = key.strip_prefix(PREFIX).filter(|_| !is_ours(key)) else { continue };
            let text = value.as_str().unwrap_or_default();
            if let Err(wrong) = wish.set(name, text) {
                warnings.push(format!("annotation {key} is ignored: {wrong}"));
            }
        }
        wish.settle(defaults, &mut warnings);
        (wish, warnings)
    }

    /// Changes one thing, by the name of its annotation without the prefix.
    ///
    /// # Errors
    /// Nothing has that name, or the value is none for it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        if value.len() > LONGEST {
            return Err(format!("its value is longer than {LONGEST} bytes"));
        }
        let value = value.trim();
        match name {
            "cache-size" => self.cache_size = volume(value)?,
            "config" => self.config = object(value)?,
            "containers" => self.containers = list(value),
            "cpu-request" => self.cpu_request = size(value, 0.0, "50m")?,
            "image" => self.image = Some(image(value)?),
            "inject-init" => self.inject_init = choice(value, &["true", "false"])? == "true",
            "key-mode" => self.key_mode = key_mode(value)?,
            "log-level" => self.log_level = choice(value, &LEVELS)?,
            "memory-limit" => self.memory_limit = size(value, LEAST_MEMORY, "256Mi")?,
            "memory-request" => self.memory_request = size(value, LEAST_MEMORY / 2.0, "64Mi")?,
            "providers" => self.providers = providers(value)?,
            "secret" => self.secret = Some(object(value)?),
            _ => {
                let known = nearest::suggest(name, NAMES);
                return Err(format!("there is none of this name; {known}"));
            }
        }
        Ok(())
    }

    /// Brings what was asked for together, because no pod with a request above its limit starts.
    fn settle(&mut self, defaults: &Self, warnings: &mut Vec<String>) {
        let more = |a: &str, b: &str| quantity::amount(a) > quantity::amount(b);
        if more(&self.memory_request, &self.memory_limit) {
            if self.memory_limit == defaults.memory_limit {
                self.memory_limit = self.memory_request.clone();
            } else {
                self.memory_request = self.memory_limit.clone();
            }
        }
        if self.key_mode == KeyMode::Managed && self.secret.is_none() {
            self.key_mode = KeyMode::Passthrough;
            let how = format!("name one in {PREFIX}secret");
            warnings.push(format!("{PREFIX}key-mode managed is ignored without a Secret: {how}"));
        }
    }
}

/// Annotations that are not wishes.
fn is_ours(key: &str) -> bool {
    key == STATUS || key == super::INJECT || key == super::INJECTED
}

/// An error for whoever gave a default.
pub fn refused(name: &str, value: &str, wrong: &str) -> Error {
    Error::new(Kind::BadRequest, format!("{name} cannot be {value:?}: {wrong}"))
}

/// The name of an image, with a registry, a tag or a digest.
///
/// # Errors
/// It cannot be one.
pub fn image(text: &str) -> Result<String, Wrong> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b);
    let is_begun = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    match is_begun && text.len() <= 512 && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("write for example registry.example/understudy:0.1.0".to_owned()),
    }
}

/// The name of an object: a DNS subdomain (RFC 1123).
fn object(text: &str) -> Result<String, Wrong> {
    let is_part = |part: &str| {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let ends = !part.starts_with('-') && !part.ends_with('-');
        !part.is_empty() && ends && part.bytes().all(inside)
    };
    match text.len() <= 253 && text.split('.').all(is_part) {
        true => Ok(text.to_owned()),
        false => Err("write the name of an object of the pod's namespace".to_owned()),
    }
}

/// A quantity of at least so much.
fn size(text: &str, least: f64, example: &str) -> Result<String, Wrong> {
    match quantity::amount(text) {
        Some(amount) if amount >= least => Ok(text.to_owned()),
        Some(_) => Err(format!("it is too little; write for example {example}")),
        None => Err(format!("it is no quantity; write for example {example}")),
    }
}

/// A size that the program understands as well, in units of volumes.
fn volume(text: &str) -> Result<String, Wrong> {
    let units = ["Mi", "Gi", "Ti", "M", "G", "T"];
    let number = units.iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or(text);
    let is_plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    size(text, LEAST_CACHE, "1Gi").and_then(|size| match is_plain {
        true => Ok(size),
        false => Err("write it in Mi, Gi or Ti, for example 1Gi".to_owned()),
    })
}

fn choice(text: &str, known: &[&str]) -> Result<String, Wrong> {
    match known.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(nearest::suggest(text, known.iter().copied())),
    }
}

fn key_mode(text: &str) -> Result<KeyMode, Wrong> {
    let word = choice(text, &["passthrough", "managed"])?;
    Ok(if word == "managed" { KeyMode::Managed } else { KeyMode::Passthrough })
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// None is a wish, too: applications that are pointed here by hand.
fn providers(text: &str) -> Result<Vec<&'static Sdk>, Wrong> {
    let mut found: Vec<&'static Sdk> = Vec::new();
    for name in list(text) {
        let names = sdk::SDKS.iter().map(|sdk| sdk.provider);
        let Some(sdk) = sdk::find(&name) else { return Err(nearest::suggest(&name, names)) };
        if !found.iter().any(|known| known.provider == sdk.provider) {
            found.push(sdk);
        }
    }
    Ok(found)
}
