//! Exchanges by their names: an id, the key of an answer, a request's id, or how one begins.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::key::ExchangeId;
use crate::library::Library;
use crate::store::exchange::Exchange;

/// The shortest abbreviation of an id, hex digits.
const MIN_PREFIX: usize = 4;

/// The most candidates an ambiguous abbreviation names.
const CANDIDATES: usize = 5;

impl Library {
    /// The exchanges that a name means, the newest first.
    pub(super) fn found(&self, id: &str) -> Result<Vec<Exchange>> {
        let text = id.trim().to_ascii_lowercase();
        let plain = text.replace('-', "");
        let is_hex = !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(exchange) = ExchangeId::parse(&plain).and_then(|id| self.store.exchange(id)) {
            return Ok(vec![exchange]);
        }
        if text.len() < MIN_PREFIX {
            let what = format!("\"{id}\" is too short for an id: give {MIN_PREFIX} characters");
            return Err(Error::new(Kind::BadRequest, what));
        }
        if is_hex && let Some(exchange) = self.beginning_with(&plain)? {
            return Ok(vec![exchange]);
        }
        self.by_key_or_request(id, &text)
    }

    /// The one exchange whose own id begins so; ids are in order, so only that part is read.
    fn beginning_with(&self, digits: &str) -> Result<Option<Exchange>> {
        let bound = |filler: char| {
            let padded: String = digits.chars().chain(std::iter::repeat(filler)).take(32).collect();
            ExchangeId::parse(&padded)
        };
        let (Some(first), Some(last)) = (bound('0'), bound('f')) else { return Ok(None) };
        if digits.len() > 32 {
            return Ok(None);
        }
        let after =
            u128::from_be_bytes(last.0).checked_add(1).map(|id| ExchangeId(id.to_be_bytes()));
        let mut found: Vec<Exchange> = Vec::new();
        self.store.scan(after, &mut |exchange| {
            let is_inside = exchange.head.id >= first;
            if is_inside {
                found.push(exchange);
            }
            is_inside && found.len() <= CANDIDATES
        });
        if found.len() > 1 {
            let names = found.iter().map(|exchange| exchange.head.id.to_string());
            return Err(ambiguous(digits, names.collect()));
        }
        Ok(found.pop())
    }

    fn by_key_or_request(&self, id: &str, text: &str) -> Result<Vec<Exchange>> {
        let mut found: BTreeMap<String, Vec<Exchange>> = BTreeMap::new();
        self.store.scan(None, &mut |exchange| {
            let key = exchange.head.key.to_string();
            let request = exchange.head.request_id.to_ascii_lowercase();
            let name = [key, request].into_iter().find(|name| name.starts_with(text));
            if let Some(name) = name {
                found.entry(name).or_default().push(exchange);
            }
            found.len() <= CANDIDATES
        });
        // A whole id is meant, whatever others begin with it.
        if let Some(exact) = found.remove(text) {
            return Ok(exact);
        }
        match found.len() {
            0 => Err(unknown(id)),
            1 => Ok(found.into_values().next().unwrap_or_default()),
            _ => Err(ambiguous(id, found.into_keys().collect())),
        }
    }
}

fn unknown(id: &str) -> Error {
    let what = format!(
        "no stored exchange has an id, key or request id that begins with \"{id}\": \
         `understudy cache ls` lists what is stored"
    );
    Error::new(Kind::NotFound, what)
}

fn ambiguous(id: &str, names: Vec<String>) -> Error {
    let more = if names.len() > CANDIDATES { " and more" } else { "" };
    let names: Vec<String> = names.into_iter().take(CANDIDATES).collect();
    let names = names.join(", ");
    let what = format!("\"{id}\" may mean several exchanges: {names}{more}; give more digits");
    Error::new(Kind::BadRequest, what)
}
