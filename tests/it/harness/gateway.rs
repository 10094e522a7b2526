//! A real gateway process on free ports with a folder of its own, and what a test asks of it.

use std::{
    collections::HashMap,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::ports::free_addresses;

/// How long a state may take to come about; far above what it takes, for a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `check` gives something.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Over all of it: a check may itself wait for an answer that never comes.
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain: {what}"))
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn read(response: reqwest::Response) -> Answer {
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("the answer is text"),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body, after the status was as expected.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }
}

/// A gateway under test. Ends with its owner.
pub struct Gateway {
    folder: tempfile::TempDir,
    child: Option<Child>,
    data: SocketAddr,
    admin: SocketAddr,
    client: reqwest::Client,
    keys: HashMap<String, String>,
    wrapper: Vec<String>,
    /// The sockets of both ports, where a supervisor holds them.
    sockets: Option<[std::net::TcpListener; 2]>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the gateway's log:\n{}", self.log());
        }
    }
}

/// The sockets become descriptors 3 and 4 of the process, which is told that there are two.
fn hand_over(command: &mut Command, sockets: &[std::net::TcpListener; 2]) {
    use std::os::{
        fd::{AsFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    };
    // Above 4, so that neither copy is written over by the other.
    let copy = |socket: &std::net::TcpListener| {
        rustix::io::fcntl_dupfd_cloexec(socket.as_fd(), 10).expect("a descriptor is free")
    };
    let copies = [copy(&sockets[0]), copy(&sockets[1])];
    command.env("LISTEN_FDS", "2").env_remove("LISTEN_PID");
    // SAFETY: between fork and exec the closure makes system calls on descriptors of the child and touches no memory
    // of the parent. What it closes over stays open until the child has started.
    unsafe {
        command.pre_exec(move || {
            for (socket, number) in copies.iter().zip([3, 4]) {
                let mut target = OwnedFd::from_raw_fd(number);
                let done = rustix::io::dup2(socket, &mut target);
                let _ = target.into_raw_fd();
                done?;
            }
            Ok(())
        });
    }
}

/// What a gateway is started with.
#[derive(Default)]
pub struct Options {
    /// More of `headworks.toml`, after what the harness writes.
    pub configuration: String,
    /// A destination `events` on this Kafka.
    pub kafka: Option<String>,
    /// A command that runs the program that stands behind it, such as strace.
    pub wrapper: Vec<String>,
    /// Of the events and of the admin API, where a test chooses them together with others.
    pub addresses: Option<[SocketAddr; 2]>,
}

impl Options {
    fn text(self, folder: &Path, data: SocketAddr, admin: SocketAddr) -> String {
        let mut text = format!(
            "data_dir = {:?}\n[server]\nlisten = \"{data}\"\nadmin_listen = \"{admin}\"\n\
             [[destination]]\nname = \"files\"\nkind = \"file\"\npath = {:?}\n",
            folder.join("data"),
            folder.join("out"),
        );
        if let Some(brokers) = self.kafka {
            text.push_str(&format!(
                "[[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{brokers}\"\n"
            ));
        }
        text.push_str(&self.configuration);
        text
    }
}

impl Gateway {
    /// One `file` destination, nothing registered.
    pub async fn start() -> Gateway {
        Gateway::start_with(Options::default()).await
    }

    /// No configuration file but for the ports: data in `./data`, one `file` destination in it.
    pub async fn start_on_defaults() -> Gateway {
        let [data, admin] = free_addresses();
        let text = format!("[server]\nlisten = \"{data}\"\nadmin_listen = \"{admin}\"\n");
        Gateway::start_configured(data, admin, |_| text).await
    }

    pub async fn start_with(mut options: Options) -> Gateway {
        let [data, admin] = options.addresses.unwrap_or_else(free_addresses);
        let wrapper = std::mem::take(&mut options.wrapper);
        let mut gateway = Gateway::configured(data, admin, |folder| options.text(folder, data, admin));
        gateway.wrapper = wrapper;
        gateway.start_again().await;
        gateway
    }

    async fn start_configured(
        data: SocketAddr,
        admin: SocketAddr,
        text: impl FnOnce(&Path) -> String,
    ) -> Gateway {
        let mut gateway = Gateway::configured(data, admin, text);
        gateway.start_again().await;
        gateway
    }

    fn configured(data: SocketAddr, admin: SocketAddr, text: impl FnOnce(&Path) -> String) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let text = text(folder.path());
        std::fs::write(folder.path().join("headworks.toml"), text).expect("the configuration can be written");
        Gateway {
            folder,
            child: None,
            data,
            admin,
            client: super::client(),
            keys: HashMap::new(),
            wrapper: Vec::new(),
            sockets: None,
        }
    }

    /// One `file` destination, and both sockets held by this process, as a supervisor would.
    pub async fn start_supervised() -> Gateway {
        let sockets = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free"));
        let [data, admin] = [0, 1].map(|index: usize| sockets[index].local_addr().expect("an address"));
        let mut gateway =
            Gateway::configured(data, admin, |folder| Options::default().text(folder, data, admin));
        gateway.sockets = Some(sockets);
        gateway.start_again().await;
        gateway
    }

    /// From the next start on.
    pub fn wrap(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    /// Starts the program on the same folder and ports, and waits until it is ready.
    pub async fn start_again(&mut self) {
        self.spawn();
        if let Some(status) = self.ready_or_ended().await {
            panic!("the gateway ended with {status}:\n{}", self.log());
        }
    }

    fn spawn(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("the log can be written");
        let program = env!("CARGO_BIN_EXE_headworks").to_owned();
        let mut words = self.wrapper.iter().chain([&program]);
        let mut command = Command::new(words.next().expect("the program at least"));
        if let Some(sockets) = &self.sockets {
            hand_over(&mut command, sockets);
        }
        let configuration =
            std::fs::read_to_string(self.path("headworks.toml")).expect("the configuration can be read");
        // A call in a host without optimisation, beside a second test, may take many times what it takes in a release.
        // A variable stands above the file, and so only where the file says nothing of it.
        if !configuration.contains("plugin_time_ms") {
            command.env("HEADWORKS__LIMITS__PLUGIN_TIME_MS", "500");
        }
        let child = command
            .args(words)
            .args(["serve", "--config"])
            .arg(self.path("headworks.toml"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the gateway starts");
        self.child = Some(child);
    }

    /// The same, where it may end before it is ready; gives the status then.
    pub async fn try_start_again(&mut self) -> Option<ExitStatus> {
        self.spawn();
        self.ready_or_ended().await
    }

    async fn ready_or_ended(&mut self) -> Option<ExitStatus> {
        let url = format!("http://{}/readyz", self.admin);
        eventually("the gateway is ready", async || {
            if let Some(status) = self.exited() {
                return Some(Some(status));
            }
            let answer = self.client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(None)
        })
        .await
    }

    /// Starts the program with more of a configuration, and does not wait: how it is asked is the test's own.
    pub fn spawn_with(&mut self, configuration: &str) {
        let path = self.path("headworks.toml");
        let before = std::fs::read_to_string(&path).expect("the configuration can be read");
        std::fs::write(&path, before + configuration).expect("the configuration can be written");
        self.spawn();
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("the child can be asked")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM; gives the status that it ended with.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal_to_stop();
        self.ended().await
    }

    /// SIGTERM.
    pub fn signal_to_stop(&self) {
        let child = self.child.as_ref().expect("the gateway runs");
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("the child can be signalled");
    }

    /// Waits for the end; gives the status.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the gateway runs");
        eventually("the gateway ends", async || {
            child.try_wait().expect("the child can be asked")
        })
        .await
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The key that [`Gateway::partner`] made.
    pub fn key(&self, partner: &str) -> String {
        self.keys[partner].clone()
    }

    /// Of the running process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the gateway runs").id()
    }

    pub fn data_address(&self) -> SocketAddr {
        self.data
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    pub fn token(&self) -> String {
        let path = self.path("data/admin-token");
        let path = match &self.child {
            // Its data may lie on a file system that only it sees.
            Some(child) => PathBuf::from(format!("/proc/{}/root{}", child.id(), path.display())),
            None => path,
        };
        std::fs::read_to_string(path)
            .expect("the first start writes a token")
            .trim()
            .to_owned()
    }

    /// A call of the admin API as the first admin.
    pub async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.admin_url()))
            .bearer_auth(self.token());
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::read(request.send().await.expect("the admin API answers")).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Value {
        let answer = self.admin("PUT", path, Some(body)).await;
        assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text);
        answer.json()
    }

    /// Uploads a component and makes it the active version; gives the version.
    pub async fn push_plugin(&self, name: &str, component: Vec<u8>) -> u64 {
        let request = self
            .client
            .post(format!("{}/v1/plugins/{name}/versions", self.admin_url()))
            .bearer_auth(self.token())
            .header("content-type", "application/wasm")
            .body(component);
        let answer = Answer::read(request.send().await.expect("the admin API answers")).await;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
        let version = answer.json()["version"].as_u64().expect("a version is a number");
        let body = serde_json::json!({"version": version});
        let answer = self
            .admin("POST", &format!("/v1/plugins/{name}/activate"), Some(body))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        version
    }

    /// A partner with a key, under which [`Gateway::post`] sends from now on.
    pub async fn partner(&mut self, name: &str, partner: Value) -> String {
        self.put(&format!("/v1/partners/{name}"), partner).await;
        let body = serde_json::json!({"kind": "secret"});
        let answer = self
            .admin("POST", &format!("/v1/partners/{name}/keys"), Some(body))
            .await;
        let key = answer.expect(201)["key"]
            .as_str()
            .expect("the key is shown once")
            .to_owned();
        self.keys.insert(name.to_owned(), key.clone());
        key
    }

    /// Sends under a key that another node made.
    pub fn know_key(&mut self, partner: &str, key: &str) {
        self.keys.insert(partner.to_owned(), key.to_owned());
    }

    /// A request of a partner to the data port.
    pub fn send(&self, method: &str, path: &str, partner: &str) -> reqwest::RequestBuilder {
        let key = &self.keys[partner];
        self.client
            .request(
                method.parse().expect("a method"),
                format!("http://{}{path}", self.data),
            )
            .bearer_auth(key)
    }

    pub async fn post(
        &self,
        path: &str,
        partner: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self
            .send("POST", path, partner)
            .header("content-type", content_type)
            .body(body);
        Answer::read(request.send().await.expect("the gateway answers")).await
    }

    /// Runs a command of the same program against this gateway.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HEADWORKS_URL", self.admin_url())
            .env("HEADWORKS_TOKEN", self.token())
            .output()
            .expect("the program runs")
    }

    /// The records of a topic of the `files` destination, plain and compressed, as they stand now.
    pub fn records(&self, topic: &str) -> Vec<Value> {
        let mut files: Vec<PathBuf> = Vec::new();
        for day in std::fs::read_dir(self.path("out").join(topic))
            .into_iter()
            .flatten()
            .flatten()
        {
            files.extend(
                std::fs::read_dir(day.path())
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|file| file.path()),
            );
        }
        files.sort();
        files.iter().flat_map(|file| lines(file)).collect()
    }

    /// Waits until a topic has so many records.
    pub async fn wait_for_records(&self, topic: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} records in {topic}"), async || {
            let records = self.records(topic);
            (records.len() >= count).then_some(records)
        })
        .await
    }

    /// The events that wait in quarantine.
    pub async fn quarantine(&self) -> Vec<Value> {
        let list = self
            .admin("GET", "/v1/quarantine?limit=1000", None)
            .await
            .expect(200);
        list["items"].as_array().expect("a list").clone()
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let mut text = String::new();
    let opened = match std::fs::File::open(file) {
        Ok(opened) => opened,
        // Closed and compressed between listing and reading.
        Err(_) => return Vec::new(),
    };
    let read = match file.extension().and_then(|extension| extension.to_str()) {
        Some("ndjson") => std::io::BufReader::new(opened).read_to_string(&mut text),
        Some("zst") => zstd::stream::read::Decoder::new(opened)
            .expect("a closed file is zstd")
            .read_to_string(&mut text),
        _ => return Vec::new(),
    };
    read.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines()
        // The last line may be on its way.
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
