//! The DSSE envelope: a statement and its signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::key::{PublicKey, Signer};
use super::refusal::Refusal;
use super::statement::{PREDICATE_TYPE, STATEMENT_TYPE, Statement};

/// The media type of an in-toto statement.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    /// Base64 of the payload's bytes.
    payload: String,
    signatures: Vec<Signed>,
}

#[derive(Serialize, Deserialize)]
struct Signed {
    #[serde(default)]
    keyid: String,
    /// Base64 of the signature.
    sig: String,
}

/// DSSE's PAE: the bytes that are signed. It includes lengths, so type and payload cannot be
/// confused.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Signs `statement` with `signer`, and returns the envelope as JSON.
pub fn sign(statement: &Statement, signer: &Signer) -> String {
    let payload = serde_json::to_vec(statement).expect("a statement has only text for keys");
    let signature = signer.sign(&pre_authentication_encoding(PAYLOAD_TYPE, &payload));
    let envelope = Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        payload: STANDARD.encode(payload),
        signatures: vec![Signed { keyid: signer.id(), sig: STANDARD.encode(signature) }],
    };
    serde_json::to_string_pretty(&envelope).expect("an envelope has only text for keys") + "\n"
}

/// Returns the statement in the envelope `text`, which `key` must have signed. Nothing in the
/// envelope is trusted before its signature has been checked.
///
/// # Errors
/// If `text` is no envelope, it is not signed or only by other keys, the signature does not match
/// these bytes, or what was signed is no attestation.
pub fn open(text: &[u8], key: &PublicKey) -> Result<Statement, Refusal> {
    let no_envelope = |why: &str| Refusal::NoEnvelope(why.to_owned());
    let envelope: Envelope =
        serde_json::from_slice(text).map_err(|error| no_envelope(&error.to_string()))?;
    let payload =
        STANDARD.decode(&envelope.payload).map_err(|_| no_envelope("its payload is not base64"))?;
    if envelope.signatures.is_empty() {
        return Err(Refusal::NotSigned);
    }
    let named = |one: &&Signed| one.keyid.is_empty() || one.keyid == key.id();
    let by_key: Vec<&Signed> = envelope.signatures.iter().filter(named).collect();
    if by_key.is_empty() {
        let signed_by = envelope.signatures.into_iter().map(|one| one.keyid).collect();
        return Err(Refusal::OtherKey { key: key.id(), signed_by });
    }
    let message = pre_authentication_encoding(&envelope.payload_type, &payload);
    let right = |one: &&Signed| {
        STANDARD.decode(&one.sig).is_ok_and(|signature| key.has_signed(&message, &signature))
    };
    if !by_key.iter().any(right) {
        return Err(Refusal::Forged { key: key.id() });
    }
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(Refusal::NoAttestation(format!("it holds {}", envelope.payload_type)));
    }
    let statement: Statement = serde_json::from_slice(&payload)
        .map_err(|error| Refusal::NoAttestation(error.to_string()))?;
    for (is, due) in
        [(&statement.kind, STATEMENT_TYPE), (&statement.predicate_type, PREDICATE_TYPE)]
    {
        if is != due {
            return Err(Refusal::NoAttestation(format!("it is of type {is}, and not {due}")));
        }
    }
    statement.must_be_whole()?;
    Ok(statement)
}
