//! Ed25519 keys in the format that signify(1) and minisign(1) share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// The name of Ed25519 in both formats.
const ALGORITHM: &[u8] = b"Ed";
const ID: usize = 8;
const PUBLIC: usize = ALGORITHM.len() + ID + 32;
/// Sizes of the secret keys of signify and minisign.
const SECRET: [usize; 2] = [104, 158];

/// The printed form of a key's eight-byte id, as minisign(1) prints it.
pub fn key_id(id: [u8; 8]) -> String {
    format!("{:016X}", u64::from_le_bytes(id))
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: [u8; ID],
    key: VerifyingKey,
}

impl PublicKey {
    /// Reads the text of a `.pub` file of signify or minisign: a line of comment, a line of base64.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn read(text: &str) -> Result<Self, String> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let bytes = STANDARD.decode(line).map_err(|_| {
            "it is no public key of signify or minisign: its last line is not base64".to_owned()
        })?;
        if SECRET.contains(&bytes.len()) {
            return Err("it is a secret key; name the public one".to_owned());
        }
        let parts = bytes.strip_prefix(ALGORITHM).and_then(|rest| rest.split_first_chunk::<ID>());
        let (Some((id, key)), PUBLIC) = (parts, bytes.len()) else {
            return Err(format!(
                "it is no public key of signify or minisign: those are Ed25519 keys of {PUBLIC} \
                 bytes"
            ));
        };
        let key = VerifyingKey::try_from(key).map_err(|_| "it is no Ed25519 key".to_owned())?;
        if key.is_weak() {
            return Err("it is a weak key, for which anyone can sign".to_owned());
        }
        Ok(PublicKey { id: *id, key })
    }

    /// The key's id.
    pub fn id(&self) -> String {
        key_id(self.id)
    }

    /// The text of its `.pub` file, which signify and minisign can read.
    pub fn to_text(&self) -> String {
        let bytes = [ALGORITHM, &self.id, self.key.as_bytes()].concat();
        format!("untrusted comment: public key {}\n{}\n", self.id(), STANDARD.encode(bytes))
    }

    /// The Ed25519 key itself.
    pub fn bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

/// A secret key that signs.
#[derive(Debug)]
pub struct Signer {
    id: [u8; ID],
    key: SigningKey,
}

impl Signer {
    /// The key with this id and the Ed25519 seed `seed`.
    pub fn new(id: [u8; 8], seed: &[u8; 32]) -> Self {
        Signer { id, key: SigningKey::from_bytes(seed) }
    }

    /// The public key that belongs to it.
    pub fn public_key(&self) -> PublicKey {
        PublicKey { id: self.id, key: self.key.verifying_key() }
    }

    /// The key's id.
    pub fn id(&self) -> String {
        key_id(self.id)
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}
