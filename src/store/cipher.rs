//! Encryption of records: AES-256-GCM under a key that each record derives for itself.
//!
//! A record's own key and nonce are drawn by keyed blake3 from the configured key and 24 random
//! bytes, so that no nonce is used twice however many records there are.

use std::sync::Arc;

use ring::aead::AES_256_GCM;
use ring::aead::Aad;
use ring::aead::LessSafeKey;
use ring::aead::Nonce;
use ring::aead::UnboundKey;
use ring::rand::SecureRandom;
use ring::rand::SystemRandom;
use secrecy::ExposeSecret;
use secrecy::SecretString;

/// Names a key without telling it.
pub type KeyId = [u8; 8];

const SALT: usize = 24;

/// The configured keys: the first writes, all of them read; without any, nothing is encrypted.
#[derive(Clone, Default)]
pub struct Keys(Arc<[Key]>);

struct Key {
    id: KeyId,
    secret: [u8; 32],
}

impl Keys {
    /// The keys that follow from these words.
    pub fn new(words: &[SecretString]) -> Self {
        let keys = words.iter().map(|words| {
            let derived = |purpose| blake3::derive_key(purpose, words.expose_secret().as_bytes());
            let id = derived("understudy 2026-11 name of a key of stored records");
            Key {
                id: id.first_chunk().copied().unwrap_or_default(),
                secret: derived("understudy 2026-11 encryption of stored records"),
            }
        });
        Self(keys.collect())
    }

    /// Names of the keys, the one that writes first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|key| key.id)
    }

    /// Whether records are encrypted.
    pub fn write(&self) -> bool {
        !self.0.is_empty()
    }

    /// `[key id][salt][ciphertext and tag]`, after `head`, which is sealed with it.
    pub fn lock(&self, head: &[u8], mut plain: Vec<u8>) -> Option<Vec<u8>> {
        let key = self.0.first()?;
        let mut salt = [0; SALT];
        SystemRandom::new().fill(&mut salt).ok()?;
        let mut record = [head, &key.id, &salt].concat();
        let (cipher, nonce) = key.of(&salt)?;
        cipher.seal_in_place_append_tag(nonce, Aad::from(&record), &mut plain).ok()?;
        record.append(&mut plain);
        Some(record)
    }

    /// What [`Self::lock`] was given, if the record is as it was and its key is here.
    pub fn unlock(&self, head: &[u8], record: &[u8]) -> Option<Vec<u8>> {
        let rest = record.strip_prefix(head)?;
        let (id, rest) = rest.split_first_chunk::<8>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT>()?;
        let key = self.0.iter().find(|key| key.id == *id)?;
        let (cipher, nonce) = key.of(salt)?;
        let said = record.get(..head.len() + id.len() + SALT)?;
        let mut sealed = sealed.to_vec();
        let length = cipher.open_in_place(nonce, Aad::from(said), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl Key {
    /// The key and the nonce of one record.
    fn of(&self, salt: &[u8; SALT]) -> Option<(LessSafeKey, Nonce)> {
        let mut drawn = [0; 44];
        blake3::Hasher::new_keyed(&self.secret).update(salt).finalize_xof().fill(&mut drawn);
        let (key, nonce) = drawn.split_first_chunk::<32>()?;
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some((LessSafeKey::new(key), Nonce::try_assume_unique_for_key(nonce).ok()?))
    }
}
