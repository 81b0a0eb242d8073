//! What must return of a reasoning item, as the text of a seal, and other makers' seals in its place.

use serde::Deserialize;
use serde::Serialize;

use crate::chat::Maker;
use crate::chat::Seal;
use crate::wire::seal;

/// Begins the id of an item that only carries the seal of the tool call named after it.
const FOR_CALL: &str = "rs_for_";

/// The two fields of a reasoning item that only its maker understands and that belong together:
/// the encrypted content is refused under another item's id.
#[derive(Debug, Deserialize, Serialize)]
pub struct Sealed {
    /// The item's id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The encrypted reasoning.
    pub encrypted_content: String,
}

/// The seal of a reasoning item with this id and encrypted content.
pub fn read(id: &str, encrypted: &str) -> Seal {
    let seal = seal::read(encrypted, Maker::OpenAi);
    // A seal that we could not put under its own id stands whole in the field.
    if seal.by != Maker::OpenAi || open(&seal.data).is_some() {
        return seal;
    }
    let sealed = Sealed { id: id.to_owned(), encrypted_content: seal.data };
    let data = serde_json::to_string(&sealed).unwrap_or(sealed.encrypted_content);
    Seal { by: Maker::OpenAi, data }
}

/// The parts of a seal that OpenAI made.
pub fn open(data: &str) -> Option<Sealed> {
    if !data.starts_with('{') { None } else { serde_json::from_str(data).ok() }
}

/// What stands as the encrypted content of an item with this id.
pub fn encrypted(seal: &Seal, id: &str) -> String {
    match open(&seal.data).filter(|sealed| seal.by == Maker::OpenAi && sealed.id == id) {
        Some(sealed) => sealed.encrypted_content,
        None => seal::write(seal, Maker::OpenAi),
    }
}

/// The id of the item that carries the seal of a call.
pub fn id_for_call(call_id: &str) -> String {
    format!("{FOR_CALL}{call_id}")
}

/// The call whose seal an item of this id carries.
pub fn call_of_id(id: &str) -> Option<&str> {
    id.strip_prefix(FOR_CALL)
}
