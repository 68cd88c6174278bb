//! A kernel from a container image, as ci-kernels and little-vm-helper publish
//! them: nothing of the image but the kernel's parts is unpacked.
//!
//! What is pinned is the digest of the manifest, or of the list of manifests for
//! several machines, which covers everything that the image has.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use futures::StreamExt as _;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{ImageIndexEntry, OciDescriptor};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use serde_json::Value;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::super::cache::Key;
use super::super::layout::Layout;
use super::super::lock::{LockedOci, Pin};
use super::super::prepare::Taking;
use super::super::{Error, archive, digest, download, layout};
use super::content::{Content, Pinning, Request};
use crate::arch::Arch;

/// How long a registry may take to accept a connection, and be silent.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
const SILENCE_DEADLINE: Duration = Duration::from_secs(60);

/// How often the download of a layer that breaks off goes on.
const RESUMES: u32 = 4;

/// How much of a registry's answer an error quotes if the answer is not JSON, in characters.
const MAX_WORDS: usize = 300;

/// An image, as in `docker pull`.
pub(super) struct Image<'s>(pub(super) &'s str);

/// The image that a pin names.
struct Pinned<'p>(&'p LockedOci);

impl Pinning for Image<'_> {
    /// Asks the registry which image has the tag.
    fn resolve(&self, request: &Request<'_>, _before: Option<&Pin>) -> Result<Pin, Error> {
        let named = self.0.rsplit_once('@').map(|(_, digest)| digest.to_owned());
        let digest = match named {
            Some(digest) => digest,
            None => Registry::of(self.0, request)?.digest()?,
        };
        Ok(Pin::Oci(LockedOci {
            name: request.name.to_owned(),
            image: self.0.to_owned(),
            arch: request.arch,
            digest,
        }))
    }

    fn content<'p>(&'p self, pin: &'p Pin) -> Option<Box<dyn Content + 'p>> {
        match pin {
            Pin::Oci(pin) if pin.image == self.0 => Some(Box::new(Pinned(pin))),
            _ => None,
        }
    }
}

impl Content for Pinned<'_> {
    fn key(&self) -> Result<Key, Error> {
        Ok(Key::new("oci", [self.0.digest.as_bytes()]))
    }

    fn get(&self, request: &Request<'_>, work: &Path) -> Result<(Layout, Taking), Error> {
        let mut registry = Registry::of(&self.0.image, request)?;
        registry.reference = Reference::with_digest(
            registry.reference.registry().to_owned(),
            registry.reference.repository().to_owned(),
            self.0.digest.clone(),
        );
        let tree = work.join("tree");
        fs::create_dir(&tree).map_err(Error::io("create", &tree))?;
        let layers = registry.layers()?;
        for (index, layer) in layers.iter().enumerate() {
            let what = format!(
                "layer {} of {} of {}",
                index + 1,
                layers.len(),
                self.0.image
            );
            let file = work.join("layer");
            registry.fetch(layer, &what, &file)?;
            archive::unpack_layer(&file, &what, &tree)?;
            fs::remove_file(&file).map_err(Error::io("remove", &file))?;
        }
        let layout = layout::find(&tree).map_err(|error| match error {
            // Do not show the temporary directory to the user.
            Error::NoImage { .. } => Error::NoImage {
                path: format!("image {}", self.0.image).into(),
            },
            Error::ManyImages { images, .. } => Error::ManyImages {
                path: format!("image {}", self.0.image).into(),
                images: images.iter().map(|path| below(&tree, path)).collect(),
            },
            Error::Image(error) => {
                let path = below(&tree, &error.path().to_string_lossy());
                Error::Image(error.of(format!("{path} of {}", self.0.image)))
            }
            other => other,
        })?;
        Ok((layout, Taking::Move))
    }
}

/// A registry, asked for one image.
struct Registry<'a> {
    /// As it stands in `kernels.toml`.
    image: &'a str,
    reference: Reference,
    client: Client,
    auth: RegistryAuth,
    runtime: tokio::runtime::Runtime,
    request: &'a Request<'a>,
}

impl<'a> Registry<'a> {
    fn of(image: &'a str, request: &'a Request<'a>) -> Result<Self, Error> {
        let failed = |reason: String| Error::Registry {
            image: image.to_owned(),
            host: String::new(),
            wants_login: false,
            reason,
        };
        let reference: Reference = image.parse().map_err(|error| failed(format!("{error}")))?;
        // The crate leaves the choice to us; the rest of kiln has ring as well.
        // Whoever was first has installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let host = reference.resolve_registry();
        download::allowed(&format!("https://{host}/v2/{}", reference.repository()))?;
        let arch = request.arch;
        let config = ClientConfig {
            // As Docker does it.
            protocol: if is_loopback(host) {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            connect_timeout: Some(CONNECT_DEADLINE),
            read_timeout: Some(SILENCE_DEADLINE),
            platform_resolver: Some(Box::new(move |entries| for_machine(entries, arch))),
            user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| failed(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let auth = credentials(&reference).unwrap_or_else(|error| {
            request.progress.line(&format!(
                "asking {host} without a login: the container configuration cannot be used: {error}"
            ));
            RegistryAuth::Anonymous
        });
        Ok(Registry {
            image,
            reference,
            client,
            auth,
            runtime,
            request,
        })
    }

    /// The digest of what the tag names.
    fn digest(&self) -> Result<String, Error> {
        self.authorized(
            self.client
                .fetch_manifest_digest(&self.reference, &self.auth),
        )
    }

    /// The layers for our machine, the lowest first.
    fn layers(&self) -> Result<Vec<OciDescriptor>, Error> {
        let (manifest, _) =
            self.authorized(self.client.pull_image_manifest(&self.reference, &self.auth))?;
        Ok(manifest.layers)
    }

    /// Does `work` with a token, where the registry wants one. Asked for by
    /// itself, since the crate forgets why it was refused.
    fn authorized<T>(
        &self,
        work: impl Future<Output = Result<T, OciDistributionError>>,
    ) -> Result<T, Error> {
        let auth = self
            .client
            .auth(&self.reference, &self.auth, RegistryOperation::Pull);
        self.runtime
            .block_on(async {
                auth.await?;
                work.await
            })
            .map_err(|error| self.told(&error))
    }

    /// Downloads a layer to `dest`, and checks that it is the one.
    fn fetch(&self, layer: &OciDescriptor, what: &str, dest: &Path) -> Result<(), Error> {
        let size = u64::try_from(layer.size).ok();
        self.request.progress.download(what, size, |heard| {
            let mut broke = None;
            for _ in 0..=RESUMES {
                let mut came = 0;
                let mut count = |bytes| {
                    came = bytes;
                    heard(bytes, size);
                };
                let part = self.runtime.block_on(self.part(layer, dest, &mut count));
                match part {
                    Ok(()) => return Ok(()),
                    Err(Broken::Off(error)) if came > 0 => broke = Some(error),
                    Err(Broken::Off(error)) => return Err(self.told(&broke.unwrap_or(error))),
                    Err(Broken::Disk(error)) => return Err(Error::io("write", dest)(error)),
                }
            }
            Err(match broke {
                Some(error) => self.told(&error),
                None => self.failed("it broke off".to_owned(), false),
            })
        })?;
        let actual = format!("sha256:{}", digest::of_file(dest)?);
        if actual == layer.digest {
            Ok(())
        } else {
            Err(Error::WrongHash {
                what: what.to_owned(),
                expected: layer.digest.trim_start_matches("sha256:").to_owned(),
                actual: actual.trim_start_matches("sha256:").to_owned(),
            })
        }
    }

    /// What is left of a layer, in one answer.
    async fn part(
        &self,
        layer: &OciDescriptor,
        dest: &Path,
        heard: &mut dyn FnMut(u64),
    ) -> Result<(), Broken> {
        let mut file = tokio::fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dest)
            .await?;
        let there = file.seek(std::io::SeekFrom::End(0)).await?;
        let (mut stream, mut bytes) = if there == 0 {
            (
                self.client.pull_blob_stream(&self.reference, layer).await?,
                0,
            )
        } else {
            let answer = self
                .client
                .pull_blob_stream_partial(&self.reference, layer, there, None)
                .await?;
            match answer {
                BlobResponse::Partial(stream) => (stream, there),
                // A registry that knows no ranges sends everything once more.
                BlobResponse::Full(stream) => {
                    file.set_len(0).await?;
                    file.rewind().await?;
                    (stream, 0)
                }
            }
        };
        while let Some(chunk) = stream.stream.next().await {
            // An error of the stream is the network's, not the disk's.
            let chunk = chunk.map_err(|error| Broken::Off(error.into()))?;
            file.write_all(&chunk).await?;
            bytes += chunk.len() as u64;
            heard(bytes);
        }
        file.flush().await?;
        Ok(())
    }

    fn failed(&self, reason: String, wants_login: bool) -> Error {
        Error::Registry {
            image: self.image.to_owned(),
            host: self.reference.registry().to_owned(),
            wants_login,
            reason,
        }
    }

    /// An error in the registry's own words.
    fn told(&self, error: &OciDistributionError) -> Error {
        match error {
            OciDistributionError::UnauthorizedError { url } => self.failed(
                format!("{url}: the registry wants a login (401 Unauthorized)"),
                true,
            ),
            OciDistributionError::AuthenticationFailure(text) => self.failed(words(text), true),
            OciDistributionError::RegistryError { envelope, url } => {
                let errors = envelope.errors.iter();
                let said: Vec<String> = errors
                    .map(|error| format!("{} ({:?})", error.message, error.code))
                    .collect();
                let denied = envelope.errors.iter().any(|error| {
                    let code = format!("{:?}", error.code);
                    ["Unauthorized", "Denied"].contains(&code.as_str())
                });
                self.failed(format!("{url}: {}", said.join("; ")), denied)
            }
            OciDistributionError::ServerError { code, url, message } => {
                let text = format!("{url}: {code}: {}", words(message));
                self.failed(text, matches!(code, 401 | 403))
            }
            other => self.failed(crate::hint::with_causes(other), false),
        }
    }
}

/// Why a download ended early.
enum Broken {
    Off(OciDistributionError),
    Disk(std::io::Error),
}

impl From<OciDistributionError> for Broken {
    fn from(error: OciDistributionError) -> Self {
        Broken::Off(error)
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Broken::Disk(error)
    }
}

/// What the user's container tools keep for a registry.
fn credentials(reference: &Reference) -> Result<RegistryAuth, CredentialRetrievalError> {
    use CredentialRetrievalError::{ConfigNotFound, ConfigReadError, NoCredentialConfigured};
    let registry = reference.registry();
    let names = match registry {
        // Its name in Docker's file is older than the others.
        "docker.io" => vec!["https://index.docker.io/v1/", registry],
        _ => vec![registry],
    };
    for name in names {
        for find in [
            docker_credential::get_podman_credential,
            docker_credential::get_credential,
        ] {
            match find(name) {
                Ok(DockerCredential::UsernamePassword(user, password)) => {
                    return Ok(RegistryAuth::Basic(user, password));
                }
                Ok(DockerCredential::IdentityToken(token)) => {
                    return Ok(RegistryAuth::Bearer(token));
                }
                Err(ConfigNotFound | ConfigReadError | NoCredentialConfigured) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(RegistryAuth::Anonymous)
}

/// The digest of the image of an index that is for Linux on `arch`, which has the
/// same name in Go as in Debian.
fn for_machine(entries: &[ImageIndexEntry], arch: Arch) -> Option<String> {
    entries
        .iter()
        .find(|entry| {
            entry.platform.as_ref().is_some_and(|platform| {
                platform.os.to_string() == "linux"
                    && platform.architecture.to_string() == arch.debian()
            })
        })
        .map(|entry| entry.digest.clone())
}

/// A path of what was unpacked to `tree`, as the image has it.
fn below(tree: &Path, path: &str) -> String {
    let path = Path::new(path);
    let path = path.strip_prefix(tree).unwrap_or(path);
    format!("/{}", path.display())
}

/// Whether a registry is on this machine: those speak plain HTTP.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => registry.split(':').next(),
    };
    let host = host.unwrap_or(registry);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// What a registry says, out of the JSON that it says it in: errors as the
/// distribution specification has them, or those of a token service.
fn words(text: &str) -> String {
    let said = |value: &Value| -> Option<String> {
        let field = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let text = ["message", "details", "error_description", "error"].map(field);
        let text = text.into_iter().flatten().find(|text| !text.is_empty())?;
        Some(match field("code") {
            Some(code) => format!("{text} ({code})"),
            None => text,
        })
    };
    let json: Option<Value> = serde_json::from_str(text).ok();
    let from_json = json.as_ref().and_then(|json| {
        let errors = json.get("errors").and_then(Value::as_array);
        let all: Vec<String> = errors.into_iter().flatten().filter_map(said).collect();
        if all.is_empty() {
            said(json)
        } else {
            Some(all.join("; "))
        }
    });
    from_json.unwrap_or_else(|| text.trim().chars().take(MAX_WORDS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_of_this_machine_is_known() {
        for (registry, expected) in [
            ("localhost:5000", true),
            ("127.0.0.1:4711", true),
            ("[::1]:5000", true),
            ("localhost.example.org", false),
            ("ghcr.io", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(is_loopback(registry), expected, "{registry}");
        }
    }

    #[test]
    fn a_registry_is_told_in_its_own_words() {
        for (text, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
                "requested access to the resource is denied (DENIED)",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                "incorrect username or password",
            ),
            ("<html>502</html>\n", "<html>502</html>"),
            ("{}", "{}"),
        ] {
            assert_eq!(words(text), expected);
        }
    }
}
