//! Real S3 servers on loopback ports: moto, and MinIO where it was built.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::ports::free_addresses;

/// How long a server may take to answer; far above what it takes, for a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
const BUCKET: &str = "headworks";

/// A server with one empty bucket. Killed with its owner.
pub struct S3 {
    port: u16,
    kind: Kind,
    directory: TempDir,
    child: Mutex<Option<Child>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Moto,
    Minio,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl S3 {
    /// Starts a server and waits until it has the bucket.
    pub async fn start(kind: Kind) -> S3 {
        let [address] = free_addresses();
        let server = S3 {
            port: address.port(),
            kind,
            directory: TempDir::new().expect("a temporary folder"),
            child: Mutex::new(None),
        };
        server.start_again().await;
        server
    }

    /// Starts it again on the same port. Moto has forgotten all that it held.
    pub async fn start_again(&self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .expect("the log can be written");
        let mut command = match self.kind {
            Kind::Moto => {
                let mut command = Command::new(root().join(".cache/moto/bin/python"));
                command
                    .arg(root().join("tests/s3/serve_moto.py"))
                    .arg(self.port.to_string());
                command
            }
            Kind::Minio => {
                let mut command = Command::new(root().join(".cache/minio/bin/minio"));
                command
                    .args([
                        "server",
                        "--quiet",
                        "--address",
                        &format!("127.0.0.1:{}", self.port),
                    ])
                    .args(["--console-address", "127.0.0.1:0"])
                    .arg(self.directory.path().join("data"))
                    .env("MINIO_ROOT_USER", "test-access-key")
                    .env("MINIO_ROOT_PASSWORD", "test-secret-key");
                command
            }
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{:?} cannot start; run scripts/setup: {error}", self.kind));
        *self.child.lock().expect("no test panics in here") = Some(child);
        self.make_bucket().await;
    }

    /// `kill -9`.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("no test panics in here").take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    async fn make_bucket(&self) {
        let begun = Instant::now();
        loop {
            let made = match self.kind {
                Kind::Moto => {
                    let url = format!("{}/{BUCKET}", self.endpoint());
                    let answer = crate::harness::client().put(url).send().await;
                    answer.is_ok_and(|answer| answer.status().is_success())
                }
                // A folder of its data is a bucket to MinIO.
                Kind::Minio => {
                    let health = format!("{}/minio/health/ready", self.endpoint());
                    let folder = self.directory.path().join("data").join(BUCKET);
                    std::fs::create_dir_all(folder).is_ok()
                        && reqwest::get(health)
                            .await
                            .is_ok_and(|answer| answer.status().is_success())
                }
            };
            if made {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{:?} does not answer: {}",
                self.kind,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `[store]` of a gateway, with `prefix` inside the bucket.
    pub fn store(&self, prefix: &str) -> String {
        format!(
            "[store]\nurl = \"s3://{BUCKET}/{prefix}\"\n[store.options]\nendpoint = \"{}\"\nallow_http = true\n\
             region = \"us-east-1\"\naccess_key_id = \"test-access-key\"\nsecret_access_key = \"test-secret-key\"\n",
            self.endpoint()
        )
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.kill();
    }
}
