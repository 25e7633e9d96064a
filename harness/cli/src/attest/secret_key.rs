//! Reads secret keys of signify(1) and minisign(1), with or without a passphrase.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::Blake2b;
use blake2::digest::Digest as _;
use blake2::digest::consts::U32;
use console::Term;
use evidence::exit;
use sha2::Sha512;
use verdict::attestation::Signer;

use super::named;
use crate::stop::Stop;

/// The id of Ed25519 in both formats.
const ED25519: &[u8] = b"Ed";
/// The most memory that deriving a key may take: minisign's own maximum.
const MOST_MEMORY: u64 = 1 << 30;
/// The most rounds that deriving a key may take; signify uses 42.
const MOST_ROUNDS: u32 = 100_000;

const WRONG: &str = "the passphrase is wrong, or the file is damaged";

/// Reads the key in the file at `path`, and asks for its passphrase if it has one.
pub(crate) fn read(path: &Path) -> Result<Signer, Stop> {
    let text = named(path, "secret key")?;
    of_text(&String::from_utf8_lossy(&text), || ask(path))
        .map_err(|why| Stop::new(exit::USAGE, format!("secret key {}: {why}", path.display())))
}

/// Prompts on a terminal; otherwise reads a line from standard input, as signify and minisign do.
fn ask(path: &Path) -> Result<String, String> {
    let stdin = io::stdin();
    let passphrase = if stdin.is_terminal() {
        eprint!("passphrase of {}: ", path.display());
        Term::stderr().read_secure_line()
    } else {
        let mut line = String::new();
        stdin.lock().read_line(&mut line).map(|_| line)
    };
    let passphrase =
        passphrase.map_err(|error| format!("its passphrase cannot be read: {error}"))?;
    match passphrase.trim_end_matches(['\r', '\n']) {
        "" => Err("it has a passphrase, and none was given; run it on a terminal, or write the \
                   passphrase to its standard input"
            .to_owned()),
        passphrase => Ok(passphrase.to_owned()),
    }
}

type Ask<'a> = &'a mut dyn FnMut() -> Result<String, String>;

fn of_text(text: &str, mut ask: impl FnMut() -> Result<String, String>) -> Result<Signer, String> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let bytes = STANDARD.decode(line).unwrap_or_default();
    match bytes.len() {
        104 => signify(&bytes, &mut ask),
        158 => minisign(&bytes, &mut ask),
        42 => Err("it is a public key; name the secret one".to_owned()),
        _ => {
            Err("it is no secret key; make one with: signify-openbsd -G -p NAME.pub -s NAME.sec, \
                  or: minisign -G -p NAME.pub -s NAME.sec"
                .to_owned())
        }
    }
}

/// "Ed", "BK", rounds, salt (16), checksum (8), id (8), key (64).
fn signify(bytes: &[u8], ask: Ask<'_>) -> Result<Signer, String> {
    let (head, rest) = bytes.split_at(8);
    let (salt, rest) = rest.split_at(16);
    let (checksum, rest) = rest.split_at(8);
    let (id, key) = rest.split_at(8);
    if &head[..4] != b"EdBK" {
        return Err("it is no Ed25519 key of signify".to_owned());
    }
    let rounds = u32::from_be_bytes(array(&head[4..]));
    if rounds > MOST_ROUNDS {
        return Err(format!("it asks for {rounds} rounds, so it is not a key of signify's"));
    }
    let mut key: [u8; 64] = array(key);
    if rounds > 0 {
        let mut mask = [0; 64];
        bcrypt_pbkdf::bcrypt_pbkdf(ask()?, salt, rounds, &mut mask)
            .map_err(|error| format!("its passphrase cannot be used: {error}"))?;
        unmask(&mut key, &mask);
    }
    if &Sha512::digest(key)[..8] != checksum {
        return Err(WRONG.to_owned());
    }
    signer(id, &key)
}

/// "Ed", "Sc" or zeros, "B2", salt (32), operations, memory, and then, masked by the passphrase: id
/// (8), key (64), checksum (32).
fn minisign(bytes: &[u8], ask: Ask<'_>) -> Result<Signer, String> {
    let (head, rest) = bytes.split_at(6);
    let (salt, rest) = rest.split_at(32);
    let (limits, hidden) = rest.split_at(16);
    let mut hidden: [u8; 104] = array(hidden);
    match (&head[..2], &head[2..4], &head[4..]) {
        (ED25519, b"\0\0", b"B2") => {}
        (ED25519, b"Sc", b"B2") => {
            let (operations, memory) = limits.split_at(8);
            let cost =
                cost(u64::from_le_bytes(array(operations)), u64::from_le_bytes(array(memory)))?;
            let mut mask = [0; 104];
            scrypt::scrypt(ask()?.as_bytes(), salt, &cost, &mut mask)
                .map_err(|error| format!("its passphrase cannot be used: {error}"))?;
            unmask(&mut hidden, &mask);
        }
        _ => return Err("it is no Ed25519 key of minisign".to_owned()),
    }
    let (id_and_key, checksum) = hidden.split_at(72);
    let mut digest = Blake2b::<U32>::new();
    digest.update(ED25519);
    digest.update(id_and_key);
    if digest.finalize()[..] != *checksum {
        return Err(WRONG.to_owned());
    }
    signer(&id_and_key[..8], &array(&id_and_key[8..]))
}

/// scrypt's parameters for libsodium's limits, computed as its `pickparams` does.
fn cost(operations: u64, memory: u64) -> Result<scrypt::Params, String> {
    const R: u64 = 8;
    let operations = operations.max(32_768);
    if memory > MOST_MEMORY {
        return Err(format!("it asks for {memory} bytes of memory, so it is not minisign's"));
    }
    let power = |most: u64| (1..63).find(|&log| 1 << log > most / 2).unwrap_or(63);
    let (log_n, p) = if operations < memory / 32 {
        (power(operations / (R * 4)), 1)
    } else {
        let log_n = power(memory / (R * 128));
        let most = ((operations / 4) / (1 << log_n)).min(0x3fff_ffff);
        (log_n, most / R)
    };
    scrypt::Params::new(log_n, R as u32, u32::try_from(p).unwrap_or(u32::MAX))
        .map_err(|error| format!("its passphrase cannot be used: {error}"))
}

/// A secret key is its seed followed by its public key.
fn signer(id: &[u8], key: &[u8; 64]) -> Result<Signer, String> {
    let signer = Signer::new(array(id), &array(&key[..32]));
    if signer.public_key().bytes() != key[32..] {
        return Err("the file is damaged: its halves do not belong together".to_owned());
    }
    Ok(signer)
}

fn unmask(bytes: &mut [u8], mask: &[u8]) {
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Converts a slice of known length into an array.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("as many as were split off")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    /// A test key: a seed followed by its public key.
    fn key() -> [u8; 64] {
        let public = Signer::new(ID, &[7; 32]).public_key().bytes();
        array(&[[7; 32], public].concat())
    }

    fn text(parts: &[&[u8]]) -> String {
        format!("untrusted comment: a test's\n{}\n", STANDARD.encode(parts.concat()))
    }

    fn signify_key(passphrase: Option<&str>) -> String {
        let (salt, rounds) = ([3; 16], if passphrase.is_some() { 4_u32 } else { 0 });
        let mut hidden = key();
        if let Some(passphrase) = passphrase {
            let mut mask = [0; 64];
            bcrypt_pbkdf::bcrypt_pbkdf(passphrase, &salt, rounds, &mut mask).unwrap();
            unmask(&mut hidden, &mask);
        }
        let checksum = &Sha512::digest(key())[..8];
        text(&[b"EdBK", &rounds.to_be_bytes(), &salt, checksum, &ID, &hidden])
    }

    fn minisign_key(passphrase: Option<&str>) -> String {
        let (salt, operations, memory) = ([3; 32], 32_768_u64, 16_u64 << 20);
        let digest = Blake2b::<U32>::new().chain_update(b"Ed").chain_update(ID);
        let checksum = digest.chain_update(key()).finalize();
        let mut hidden: [u8; 104] = array(&[&ID[..], &key(), &checksum].concat());
        let kind: &[u8] = if passphrase.is_some() { b"EdScB2" } else { b"Ed\0\0B2" };
        if let Some(passphrase) = passphrase {
            let mut mask = [0; 104];
            let cost = cost(operations, memory).unwrap();
            scrypt::scrypt(passphrase.as_bytes(), &salt, &cost, &mut mask).unwrap();
            unmask(&mut hidden, &mask);
        }
        let limits = [operations.to_le_bytes(), memory.to_le_bytes()].concat();
        text(&[kind, &salt, &limits, &hidden])
    }

    fn read(text: &str, passphrase: &str) -> Result<Signer, String> {
        of_text(text, || Ok(passphrase.to_owned()))
    }

    #[test]
    fn keys_without_a_passphrase_ask_for_none() {
        for text in [signify_key(None), minisign_key(None)] {
            let signer = of_text(&text, || panic!("it has no passphrase")).unwrap();
            assert_eq!(signer.public_key(), Signer::new(ID, &[7; 32]).public_key());
        }
    }

    #[test]
    fn keys_with_a_passphrase_take_no_other() {
        for text in [signify_key(Some("right")), minisign_key(Some("right"))] {
            let signer = read(&text, "right").unwrap();
            assert_eq!(signer.public_key(), Signer::new(ID, &[7; 32]).public_key());
            assert_eq!(read(&text, "wrong").unwrap_err(), WRONG);
        }
    }

    #[test]
    fn invalid_keys_are_reported() {
        for (text, says) in [
            (String::new(), "make one with"),
            ("x\nRWQ=\n".to_owned(), "make one with"),
            (text(&[&[0; 104]]), "no Ed25519 key of signify"),
            (text(&[&[0; 158]]), "no Ed25519 key of minisign"),
            (text(&[b"EdBK", &u32::MAX.to_be_bytes(), &[0; 96]]), "rounds"),
            (text(&[b"EdScB2", &[0; 32], &[0xff; 16], &[0; 104]]), "bytes of memory"),
            (Signer::new(ID, &[7; 32]).public_key().to_text(), "name the secret one"),
        ] {
            let error = read(&text, "any").unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    /// minisign's own limits (2^25 operations, 1 GiB) give N = 2^20 in libsodium.
    #[test]
    fn the_cost_is_libsodiums() {
        let cost = cost(1 << 25, 1 << 30).unwrap();
        assert_eq!((cost.log_n(), cost.r(), cost.p()), (20, 8, 1));
    }
}
