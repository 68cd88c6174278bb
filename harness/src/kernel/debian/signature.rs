//! Checks who signed a Release file: OpenPGP's cleartext signatures, RFC 9580, section 7.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use pgp::composed::{CleartextSignedMessage, Deserializable as _, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::Signature;
use pgp::types::{KeyDetails, VerifyingKey};

use super::super::Error;

/// The keys of Debian's archives: the file of package `debian-archive-keyring`
/// 2023.3+deb12u2. docs/kernels.md has their fingerprints.
static DEBIAN: &[u8] = include_bytes!("debian-archive-keyring.gpg");

/// Keys that are trusted.
pub(in super::super) struct Keyring {
    keys: Vec<SignedPublicKey>,
    /// Its name in messages.
    name: String,
}

impl Keyring {
    /// The keys of Debian's own archives.
    pub(in super::super) fn debian() -> Result<Self, Error> {
        Self::parse(DEBIAN, "Debian's archive keys")
    }

    /// The keys in `file`, armored or not.
    pub(in super::super) fn open(file: &Path) -> Result<Self, Error> {
        let bytes = fs::read(file).map_err(Error::io("read", file))?;
        Self::parse(&bytes, &file.display().to_string())
    }

    fn parse(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let keys = SignedPublicKey::from_reader_many(bytes)
            .and_then(|(keys, _)| keys.collect::<Result<Vec<_>, _>>());
        match keys {
            Ok(keys) if !keys.is_empty() => Ok(Self {
                keys,
                name: name.to_owned(),
            }),
            Ok(_) => Err(bad_keyring(name, "it contains no key".to_owned())),
            Err(error) => Err(bad_keyring(name, error.to_string())),
        }
    }

    /// These keys and those of `other`.
    pub(in super::super) fn with(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        let _ = write!(self.name, " and {}", other.name);
        self
    }

    /// The text inside `signed`, from `url`, if one of these keys signed it.
    pub(super) fn verified(&self, url: &str, signed: &[u8]) -> Result<String, Error> {
        let message = parse(url, signed)?;
        let text = message.signed_text();
        let mut reasons = Vec::new();
        let mut changed = false;
        for signature in message.signatures() {
            match self.check(signature, text.as_bytes()) {
                Ok(()) => return Ok(text.replace("\r\n", "\n")),
                Err(problem) => {
                    changed |= matches!(problem, Problem::Changed(_));
                    reasons.push(problem.to_string());
                }
            }
        }
        if reasons.is_empty() {
            reasons.push("it has no signature".to_owned());
        }
        Err(Error::Signature {
            url: url.to_owned(),
            reason: reasons.join("; "),
            changed,
        })
    }

    /// Checks that one of the keys made `signature` over `text`; returns why not.
    fn check(&self, signature: &Signature, text: &[u8]) -> Result<(), Problem> {
        let hash = signature.hash_alg();
        if !matches!(
            hash,
            Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512)
        ) {
            let weak = format!("a signature with the hash {hash:?} is too weak");
            return Err(Problem::Unusable(weak));
        }
        let made = signature
            .created()
            .map(|time| i64::from(time.as_secs()))
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .ok_or_else(|| "a signature has no creation time".to_owned())?;
        for key in &self.keys {
            let primary = &key.primary_key;
            if is_issuer(signature, primary) {
                usable(key, made)?;
                return made_over(signature, primary, text);
            }
            for subkey in &key.public_subkeys {
                if is_issuer(signature, &subkey.key) {
                    usable(key, made)?;
                    subkey.verify_bindings(primary).map_err(|error| {
                        format!(
                            "{} is no subkey of its key: {error}",
                            subkey.key.fingerprint()
                        )
                    })?;
                    return made_over(signature, &subkey.key, text);
                }
            }
        }
        let fingerprints = signature.issuer_fingerprint();
        let ids = signature.issuer_key_id();
        let issuer = fingerprints
            .first()
            .map(ToString::to_string)
            .or_else(|| ids.first().map(ToString::to_string))
            .unwrap_or_else(|| "nobody named".to_owned());
        Err(format!("the key {issuer} is not among {}", self.name).into())
    }
}

/// Whether `signature` names `key` as its issuer.
fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    let id = key.legacy_key_id();
    let fingerprint = key.fingerprint();
    signature.issuer_key_id().contains(&&id)
        || signature.issuer_fingerprint().contains(&&fingerprint)
}

/// Why a signature does not count.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// The signature or its key cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// A trusted key signed another text; with its fingerprint.
    #[error("the signature by {0} is wrong: it was made over another text")]
    Changed(String),
}

impl From<String> for Problem {
    fn from(reason: String) -> Self {
        Self::Unusable(reason)
    }
}

/// Checks that `key` made `signature` over `text`.
fn made_over(signature: &Signature, key: &impl VerifyingKey, text: &[u8]) -> Result<(), Problem> {
    signature.verify(key, text).map_err(|error| {
        // What the library says about it is for its developers.
        tracing::debug!("the signature by {}: {error}", key.fingerprint());
        Problem::Changed(key.fingerprint().to_string())
    })
}

/// Whether this key was valid at the time of a signature.
fn usable(key: &SignedPublicKey, made: DateTime<Utc>) -> Result<(), String> {
    let print = key.primary_key.fingerprint();
    if !key.details.revocation_signatures.is_empty() {
        return Err(format!("the key {print} was revoked"));
    }
    let created = i64::from(key.primary_key.created_at().as_secs());
    let lifetimes = key
        .details
        .users
        .iter()
        .flat_map(|user| &user.signatures)
        .chain(&key.details.direct_signatures)
        .filter_map(Signature::key_expiration_time);
    let expires = lifetimes
        .map(|lifetime| i64::from(lifetime.as_secs()))
        .max()
        .filter(|&seconds| seconds > 0)
        .and_then(|seconds| DateTime::from_timestamp(created + seconds, 0));
    match expires {
        Some(expires) if expires < made => Err(format!(
            "the key {print} had expired on {}",
            expires.format("%Y-%m-%d")
        )),
        _ => Ok(()),
    }
}

/// The text of `signed`, from `url`, whoever signed it; it may be unsigned.
pub(super) fn unverified(url: &str, signed: &[u8]) -> Result<String, Error> {
    if signed.starts_with(b"-----BEGIN PGP") {
        return Ok(parse(url, signed)?.signed_text().replace("\r\n", "\n"));
    }
    Ok(String::from_utf8_lossy(signed).into_owned())
}

fn parse(url: &str, signed: &[u8]) -> Result<CleartextSignedMessage, Error> {
    CleartextSignedMessage::from_armor(signed)
        .map(|(message, _)| message)
        .map_err(|error| untrusted(url, format!("it is not signed, or not correctly: {error}")))
}

fn untrusted(url: &str, reason: String) -> Error {
    Error::Signature {
        url: url.to_owned(),
        reason,
        changed: false,
    }
}

fn bad_keyring(name: &str, reason: String) -> Error {
    Error::Keyring {
        name: name.to_owned(),
        reason,
    }
}
