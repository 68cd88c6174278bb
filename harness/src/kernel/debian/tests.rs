#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use pgp::composed::{
    CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, Password};

use super::*;

/// A key with a signing subkey, as archives have.
fn key() -> SignedSecretKey {
    let mut subkey = SubkeyParamsBuilder::default();
    subkey
        .key_type(KeyType::Ed25519Legacy)
        .can_sign(true)
        .can_encrypt(EncryptionCaps::None)
        .can_authenticate(false);
    let mut params = SecretKeyParamsBuilder::default();
    params
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(false)
        .can_encrypt(EncryptionCaps::None)
        .primary_user_id("Archive <archive@example.org>".into())
        .subkeys(vec![subkey.build().unwrap()]);
    params
        .build()
        .unwrap()
        .generate(rand::thread_rng())
        .unwrap()
}

fn signed(text: &str, key: &SignedSecretKey) -> String {
    let subkey = &key.secret_subkeys[0].key;
    CleartextSignedMessage::sign(rand::thread_rng(), text, subkey, &Password::empty())
        .unwrap()
        .to_armored_string(pgp::composed::ArmorOptions::default())
        .unwrap()
}

/// An archive that is a directory, and a cache.
struct Lab {
    dir: tempfile::TempDir,
    key: SignedSecretKey,
}

impl Lab {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            key: key(),
        }
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join("mirror").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn keyring(&self) -> Keyring {
        let file = self.dir.path().join("keys.gpg");
        let public = SignedPublicKey::from(self.key.clone());
        fs::write(&file, public.to_bytes().unwrap()).unwrap();
        Keyring::open(&file).unwrap()
    }

    /// Publishes one package; `extra` goes into the Release file.
    fn publish(&self, extra: &str) -> String {
        let stanza = format!(
            "Package: linux-image-6.1-x\nVersion: 6.1-1\nFilename: pool/k.deb\nSize: 1\nSHA256: {}\n\n",
            "0".repeat(64)
        );
        let index = zstd::encode_all(stanza.as_bytes(), 1).unwrap();
        let hash = digest::of_bytes(&index);
        let name = if extra.contains("By-Hash") {
            format!("by-hash/SHA256/{hash}")
        } else {
            "Packages.zst".to_owned()
        };
        self.write(&format!("dists/s/main/binary-amd64/{name}"), &index);
        format!(
            "Suite: s\nDate: Thu, 26 Nov 2020 21:03:35 UTC\n{extra}SHA256:\n {hash} {} main/binary-amd64/Packages.zst\n",
            index.len()
        )
    }

    fn packages(&self, keyring: Option<&Keyring>) -> Result<Vec<Package>, Error> {
        let mirror = format!("file:{}", self.dir.path().join("mirror").display());
        let suite = Suite {
            mirror: &mirror,
            name: "s",
            component: "main",
            arch: Arch::X86_64,
            keyring,
        };
        let cache = Cache::at(self.dir.path().join("cache"));
        suite.packages(&cache, &Progress::silent())
    }

    #[track_caller]
    fn refused(&self, keyring: &Keyring, expected: &str) {
        let error = self.packages(Some(keyring)).unwrap_err();
        assert!(matches!(error, Error::Signature { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

const RELEASE: &str = "dists/s/InRelease";

#[test]
fn a_signed_archive_is_read_and_its_index_only_once() {
    for extra in ["", "Acquire-By-Hash: yes\n"] {
        let lab = Lab::new();
        let release = lab.publish(extra);
        lab.write(RELEASE, signed(&release, &lab.key));
        let keyring = lab.keyring();
        let packages = lab.packages(Some(&keyring)).unwrap();
        assert!(matches!(
            newest(&packages, "linux-image-*"),
            Newest::Found(_)
        ));
        fs::remove_dir_all(lab.dir.path().join("mirror/dists/s/main")).unwrap();
        assert_eq!(lab.packages(Some(&keyring)).unwrap(), packages);
    }
}

#[test]
fn an_archive_that_is_unsigned_signed_by_a_stranger_or_changed_is_refused() {
    let lab = Lab::new();
    let release = lab.publish("");
    let keyring = lab.keyring();
    lab.write(RELEASE, &release);
    lab.refused(&keyring, "it is not signed");
    assert!(
        lab.packages(None).is_ok(),
        "a trusted archive needs no signature"
    );

    let stranger = key();
    lab.write(RELEASE, signed(&release, &stranger));
    let fingerprint = stranger.secret_subkeys[0].key.fingerprint().to_string();
    lab.refused(&keyring, &fingerprint);

    let changed = signed(&release, &lab.key).replace("Suite: s", "Suite: t");
    lab.write(RELEASE, changed);
    lab.refused(&keyring, "is wrong");
    lab.refused(
        &Keyring::debian().unwrap(),
        "not among Debian's archive keys",
    );
}

#[test]
fn an_index_that_is_not_the_signed_one_is_refused() {
    let lab = Lab::new();
    let release = lab.publish("");
    lab.write(RELEASE, signed(&release, &lab.key));
    let index = lab
        .dir
        .path()
        .join("mirror/dists/s/main/binary-amd64/Packages.zst");
    let mut bytes = fs::read(&index).unwrap();
    bytes[10] ^= 1;
    fs::write(&index, bytes).unwrap();
    let error = lab.packages(Some(&lab.keyring())).unwrap_err();
    assert!(matches!(error, Error::WrongHash { .. }), "{error}");
}

#[test]
fn an_archive_of_another_suite_is_refused() {
    let lab = Lab::new();
    let release = lab
        .publish("")
        .replace("Suite: s\n", "Suite: old\nCodename: older\n");
    lab.write(RELEASE, signed(&release, &lab.key));
    let error = lab.packages(Some(&lab.keyring())).unwrap_err().to_string();
    assert!(error.contains("it is of the suite old or older"), "{error}");
}

#[test]
fn an_invalid_keyring_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    for content in ["", "no key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"] {
        fs::write(&file, content).unwrap();
        let error = Keyring::open(&file).err().unwrap();
        assert!(matches!(error, Error::Keyring { .. }), "{error}");
    }
    let error = Keyring::open(Path::new("/nowhere")).err().unwrap();
    assert!(error.to_string().contains("No such file"), "{error}");
}
