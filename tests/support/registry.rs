//! A container registry on the loopback: Debian's `docker-registry`, with images
//! that the test makes, open or behind a token service.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{OciImageIndex, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::material::run;
use super::web::{Page, WebServer};

/// How long the registry may take to listen.
const START: Duration = Duration::from_secs(30);
/// Whose tokens it takes.
const ISSUER: &str = "kiln's tests";
const SERVICE: &str = "registry";

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Serves what is in a directory until dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    storage: PathBuf,
    process: Child,
    port: u16,
}

impl Registry {
    /// One that asks nobody.
    pub(crate) fn open(storage: &Path) -> Self {
        Self::start(storage, "")
    }

    /// One with the same images, which gives them to who has a token.
    pub(crate) fn with_tokens(&self, tokens: &Tokens) -> Self {
        let auth = format!(
            "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    \
             rootcertbundle: {}\n",
            tokens.server.url("/token"),
            tokens.certificate.display()
        );
        Self::start(&self.storage, &auth)
    }

    fn start(storage: &Path, auth: &str) -> Self {
        fs::create_dir_all(storage).unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = storage.with_extension(format!("{port}.yml"));
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{auth}",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(config.with_extension("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut registry = Self {
            storage: storage.to_owned(),
            process,
            port,
        };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = registry.process.try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < START,
                "docker-registry does not listen: {}",
                fs::read_to_string(config.with_extension("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// The name of an image of it, by its repository and tag.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Pushes an image for amd64, of which an index has one for arm64 as well.
    /// Layers are gzipped tar archives.
    pub(crate) fn push(&self, name: &str, layers: Vec<Vec<u8>>) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let config = ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        };
        // No TLS is spoken, but the crate wants to know which it would be.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(config);
        let push = async |machine: &str, layers: Vec<Vec<u8>>| {
            let image: Reference = format!("{}-{machine}", self.image(name)).parse().unwrap();
            let layers: Vec<ImageLayer> = layers
                .into_iter()
                .map(|data| ImageLayer::new(data, LAYER.to_owned(), None))
                .collect();
            let text = format!(
                "{{\"architecture\":\"{machine}\",\"os\":\"linux\",\
                 \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[]}}}}"
            );
            let config = Config::oci_v1(text, None);
            let auth = RegistryAuth::Anonymous;
            client
                .push(&image, &layers, config, &auth, None)
                .await
                .unwrap();
            let (manifest, digest) = client
                .pull_manifest_raw(
                    &image,
                    &auth,
                    &["application/vnd.oci.image.manifest.v1+json"],
                )
                .await
                .unwrap();
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest,
                "size": manifest.len(),
                "platform": { "architecture": machine, "os": "linux" },
            })
        };
        runtime.block_on(async {
            // The other machine's comes first, and is no kernel.
            let manifests = [
                push("arm64", vec![super::packages::gzip(&[0; 1024])]).await,
                push("amd64", layers).await,
            ];
            let index = serde_json::json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": manifests,
            });
            let index: OciImageIndex = serde_json::from_value(index).unwrap();
            let image: Reference = self.image(name).parse().unwrap();
            let index = OciManifest::ImageIndex(index);
            client.push_manifest(&image, &index).await.unwrap();
        });
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A token service, which gives everybody a token for one repository, or only who
/// knows the login.
#[derive(Debug)]
pub(crate) struct Tokens {
    server: WebServer,
    certificate: PathBuf,
}

impl Tokens {
    /// The `login` is the value of an `Authorization` header.
    pub(crate) fn new(dir: &Path, repository: &str, login: Option<&str>) -> Self {
        let key = dir.join("token.key");
        let certificate = dir.join("token.pem");
        run(Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=tokens", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate));
        let pem = fs::read_to_string(&certificate).unwrap();
        let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let header = format!("{{\"typ\":\"JWT\",\"alg\":\"RS256\",\"x5c\":[\"{der}\"]}}");
        let claims = format!(
            "{{\"iss\":\"{ISSUER}\",\"sub\":\"\",\"aud\":\"{SERVICE}\",\"nbf\":0,\"iat\":0,\
             \"exp\":4102444800,\"jti\":\"1\",\"access\":[{{\"type\":\"repository\",\
             \"name\":\"{repository}\",\"actions\":[\"pull\"]}}]}}"
        );
        let signed = format!(
            "{}.{}",
            base64(header.as_bytes()),
            base64(claims.as_bytes())
        );
        let text = dir.join("token.txt");
        fs::write(&text, &signed).unwrap();
        let signature = dir.join("token.sig");
        run(Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(&key)
            .arg("-out")
            .args([&signature, &text]));
        let token = format!("{signed}.{}", base64(&fs::read(signature).unwrap()));
        let page = Page {
            login: login.map(str::to_owned),
            ..Page::new(format!("{{\"token\":\"{token}\",\"expires_in\":3600}}"))
        };
        Self {
            server: WebServer::start([("/token", page)]),
            certificate,
        }
    }

    /// How often a token was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.server.requests()
    }
}

/// RFC 4648, section 5: without padding, as tokens have it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 3];
        word[..chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for place in 0..=chunk.len() {
            let digit = (word >> (18 - 6 * place)) & 63;
            text.push(char::from(DIGITS[digit as usize]));
        }
    }
    text
}
