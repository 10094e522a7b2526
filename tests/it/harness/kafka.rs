//! A real Apache Kafka on loopback ports, which tests may kill and restart.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use tempfile::TempDir;

use super::ports::free_addresses;

/// How long a state may take to come about; far above what it takes, for a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// One message as a consumer sees it.
#[derive(Clone, Debug)]
pub struct Message {
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub headers: BTreeMap<String, String>,
}

/// A broker of its own ports and data. Killed with its owner or with the test process, whatever ends first.
pub struct Broker {
    directory: TempDir,
    bootstrap: String,
    /// Of the listener with TLS and SASL, where there is one.
    secure: Option<String>,
    /// Whose tokens it believes: a file with a JSON Web Key Set.
    keys: Option<PathBuf>,
    cluster: String,
    controller_port: u16,
    child: Mutex<Option<Child>>,
}

/// The user of a secure broker, and its password.
pub const USER: (&str, &str) = ("headworks", "correct horse battery staple");

/// Who may connect to a broker.
enum Access<'a> {
    Everybody,
    /// By a second listener, who has a password or, where a JSON Web Key Set is given, a token.
    Known(Option<&'a str>),
}

/// Who makes the tokens that a broker believes, and for whom.
pub const ISSUER: &str = "https://login.test";
pub const AUDIENCE: &str = "kafka";

/// The broker of all tests that do not kill it. Topics should have names of their own.
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(Broker::start)
}

impl Broker {
    /// Starts a broker and waits until it answers; blocks for some seconds.
    pub fn start() -> Broker {
        Broker::start_node(1, None, &Access::Everybody)
    }

    /// The same with a second listener: TLS, SASL (PLAIN and SCRAM-SHA-512) and access control.
    pub fn start_secure() -> Broker {
        Broker::start_node(1, None, &Access::Known(None))
    }

    /// The same for clients with tokens (OAUTHBEARER) that this JSON Web Key Set signed, for `kafka` and by
    /// `https://login.test`.
    pub fn start_believing(keys: &str) -> Broker {
        Broker::start_node(1, None, &Access::Known(Some(keys)))
    }

    /// Another broker of the same cluster.
    pub fn join(&self) -> Broker {
        Broker::start_node(2, Some(self), &Access::Everybody)
    }

    fn start_node(node: u32, first: Option<&Broker>, access: &Access<'_>) -> Broker {
        let home = kafka_home();
        let directory = TempDir::new().expect("a temporary folder");
        let [port, own_controller_port, secure_port] = free_addresses::<3>().map(|address| address.port());
        let controller_port = first.map_or(own_controller_port, |first| first.controller_port);
        let roles = match first {
            None => format!(
                "process.roles=broker,controller\n\
                 listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"
            ),
            Some(_) => format!("process.roles=broker\nlisteners=PLAINTEXT://127.0.0.1:{port}"),
        };
        let (is_secure, keys) = match access {
            Access::Everybody => (false, None),
            Access::Known(keys) => (true, keys.map(|keys| write_keys(directory.path(), keys))),
        };
        let (more_listeners, security) = if is_secure {
            (
                format!(",SECURE://127.0.0.1:{secure_port}"),
                security(directory.path(), keys.as_deref()),
            )
        } else {
            (String::new(), String::new())
        };
        let properties = format!(
            "{roles}{more_listeners}\n\
             node.id={node}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{more_listeners}\n\
             {security}\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             broker.heartbeat.interval.ms=500\n\
             broker.session.timeout.ms=3000\n\
             auto.create.topics.enable=false\n",
            directory.path().join("data").display(),
        );
        fs::write(directory.path().join("server.properties"), properties)
            .expect("the properties are written");
        let cluster = first.map_or_else(
            || {
                base64::Engine::encode(
                    &base64::engine::general_purpose::URL_SAFE_NO_PAD,
                    uuid::Uuid::new_v4().as_bytes(),
                )
            },
            |first| first.cluster.clone(),
        );
        format_storage(&home, directory.path(), &cluster, is_secure);
        let broker = Broker {
            directory,
            bootstrap: format!("127.0.0.1:{port}"),
            secure: is_secure.then(|| format!("127.0.0.1:{secure_port}")),
            keys,
            cluster,
            controller_port,
            child: Mutex::new(None),
        };
        broker.restart();
        broker
    }

    /// `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `host:port` of the listener with TLS and SASL.
    pub fn secure(&self) -> &str {
        self.secure.as_deref().expect("a secure broker")
    }

    /// Whom a client must trust.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// Takes from [`USER`] the right to write to a topic.
    pub fn deny(&self, topic: &str) {
        let (user, _) = USER;
        let denied = java(&kafka_home(), self.directory.path())
            .args([
                "org.apache.kafka.tools.AclCommand",
                "--bootstrap-server",
                &self.bootstrap,
                "--add",
            ])
            .args([
                "--deny-principal",
                &format!("User:{user}"),
                "--operation",
                "Write",
                "--topic",
                topic,
            ])
            .output()
            .expect("java runs");
        assert!(denied.status.success(), "{denied:?}");
    }

    /// Stops the process where it stands, until [`Broker::go_on`].
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.lock().expect("no panic");
        let pid = rustix::process::Pid::from_child(child.as_ref().expect("the broker runs"));
        rustix::process::kill_process(pid, signal).expect("the broker can be signalled");
    }

    /// `kill -9`.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("no panic").take() {
            child.kill().expect("the broker can be killed");
            child.wait().expect("the broker is dead");
        }
    }

    /// Starts it (again) on the same ports and data, and waits until it answers.
    pub fn restart(&self) {
        self.kill();
        let mut command = java(&kafka_home(), self.directory.path());
        if let Some(keys) = &self.keys {
            let shown = keys.display();
            command
                .arg(format!(
                    "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{shown}"
                ))
                .arg(format!(
                    "-Dorg.apache.kafka.sasl.oauthbearer.allowed.files={shown}"
                ));
        }
        command
            .arg("kafka.Kafka")
            .arg(self.directory.path().join("server.properties"));
        let log = self.directory.path().join("broker.log");
        let output = fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log");
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output);
        let mut child = spawn_for_life(command);
        let begun = Instant::now();
        let client = self.consumer();
        loop {
            if let Ok(metadata) = client.fetch_metadata(None, Duration::from_millis(500))
                && !metadata.brokers().is_empty()
            {
                break;
            }
            let dead = child.try_wait().expect("the child can be asked");
            let text = || fs::read_to_string(&log).unwrap_or_default();
            assert!(dead.is_none(), "Kafka ended with {dead:?}: {}", text());
            assert!(begun.elapsed() < PATIENCE, "Kafka does not answer: {}", text());
        }
        *self.child.lock().expect("no panic") = Some(child);
    }

    /// A topic with `partitions` partitions.
    pub async fn create_topic(&self, topic: &str, partitions: i32) {
        self.create_topic_with(topic, partitions, &[]).await;
    }

    /// The same with settings of the topic.
    pub async fn create_topic_with(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.make_topic(topic, partitions, 1, settings).await;
    }

    /// A topic that two brokers have.
    pub async fn create_replicated_topic(&self, topic: &str, partitions: i32) {
        self.make_topic(topic, partitions, 2, &[]).await;
    }

    pub async fn delete_topic(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let deleted = admin
            .delete_topics(&[topic], &options)
            .await
            .expect("Kafka answers");
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }

    async fn make_topic(&self, topic: &str, partitions: i32, copies: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("an admin client");
        let new = settings.iter().fold(
            NewTopic::new(topic, partitions, TopicReplication::Fixed(copies)),
            |new, (name, value)| new.set(name, value),
        );
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = admin
            .create_topics([&new], &options)
            .await
            .expect("Kafka answers");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    /// Waits for the first `count` messages of a topic, in the order of each partition.
    pub async fn consume(&self, topic: &str, count: usize) -> Vec<Message> {
        self.read(topic, Some(count)).await
    }

    /// Everything that stands in the topic by now.
    pub async fn consume_all(&self, topic: &str) -> Vec<Message> {
        self.read(topic, None).await
    }

    async fn read(&self, topic: &str, count: Option<usize>) -> Vec<Message> {
        let (consumer, topic) = (self.consumer(), topic.to_owned());
        let read = move || match count {
            Some(count) => poll(&consumer, &assign(&consumer, &topic), |read, _| {
                read.len() >= count
            }),
            None => {
                let ends = assign(&consumer, &topic);
                poll(&consumer, &ends, |_, reached| {
                    ends.iter()
                        .all(|(partition, end)| reached.get(partition).is_some_and(|at| at >= end))
                })
            }
        };
        tokio::task::spawn_blocking(read)
            .await
            .expect("the reader does not panic")
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    fn consumer(&self) -> BaseConsumer {
        self.client()
            .set("group.id", "tests")
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "200")
            // The broker is often still on its way up.
            .set("log_level", "0")
            .create()
            .expect("a consumer")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads every partition from its beginning; gives each partition's end as it is now.
fn assign(consumer: &BaseConsumer, topic: &str) -> BTreeMap<i32, i64> {
    let metadata = consumer
        .fetch_metadata(Some(topic), PATIENCE)
        .expect("Kafka answers");
    let partitions: Vec<i32> = metadata.topics()[0]
        .partitions()
        .iter()
        .map(|partition| partition.id())
        .collect();
    let mut assignment = TopicPartitionList::new();
    for partition in &partitions {
        assignment
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .expect("a partition");
    }
    consumer.assign(&assignment).expect("assigned");
    let end = |partition: i32| {
        let (_, end) = consumer
            .fetch_watermarks(topic, partition, PATIENCE)
            .expect("Kafka answers");
        (partition, end)
    };
    partitions.into_iter().map(end).collect()
}

fn poll(
    consumer: &BaseConsumer,
    ends: &BTreeMap<i32, i64>,
    enough: impl Fn(&[Message], &BTreeMap<i32, i64>) -> bool,
) -> Vec<Message> {
    let begun = Instant::now();
    let mut messages = Vec::new();
    // The next offset of each partition; an empty one is at its end from the start.
    let mut reached: BTreeMap<i32, i64> = ends.keys().map(|partition| (*partition, 0)).collect();
    while !enough(&messages, &reached) {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} messages in {PATIENCE:?}, no more",
            messages.len()
        );
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        reached.insert(message.partition(), message.offset() + 1);
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        messages.push(Message {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: headers
                .map(|header| {
                    let value = String::from_utf8(header.value.unwrap_or_default().to_vec());
                    (header.key.to_owned(), value.expect("header values are UTF-8"))
                })
                .collect(),
        });
    }
    messages
}

/// The folder with Kafka's jars, fetched where they are missing.
fn kafka_home() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = std::env::var_os("HEADWORKS_KAFKA_HOME")
        .map_or_else(|| repository.join(".cache/kafka-4.1.0"), PathBuf::from);
    if !home.join("lib").is_dir() {
        let fetched = Command::new(repository.join("tests/kafka/fetch.sh")).status();
        assert!(
            fetched.is_ok_and(|status| status.success()) && home.join("lib").is_dir(),
            "Apache Kafka is missing and could not be fetched: see what tests/kafka/fetch.sh says",
        );
    }
    home
}

/// Makes the folder a node of the cluster; with [`USER`] where its listener asks for one.
fn format_storage(home: &Path, directory: &Path, cluster: &str, has_user: bool) {
    let mut format = java(home, directory);
    format
        // An identity may begin with a hyphen: it must not pass for an option.
        .args([
            "kafka.tools.StorageTool",
            "format",
            &format!("--cluster-id={cluster}"),
            "-c",
        ])
        .arg(directory.join("server.properties"));
    if has_user {
        let (user, password) = USER;
        let user = format!("SCRAM-SHA-512=[name={user},password={password}]");
        format.args(["--add-scram", &user]);
    }
    let formatted = format.output().expect("java runs");
    assert!(formatted.status.success(), "{formatted:?}");
}

/// Settings for a quick start rather than a long life.
fn java(home: &Path, directory: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .current_dir(directory)
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(home.join("lib").join("*"));
    command
}

fn write_keys(directory: &Path, keys: &str) -> PathBuf {
    let path = directory.join("jwks.json");
    fs::write(&path, keys).expect("the keys are written");
    path
}

/// What has the listener `SECURE` believe tokens that these keys signed. A connection ends with the token that opened it.
fn tokens(keys: &Path) -> String {
    let (listener, module) = (
        "listener.name.secure.oauthbearer",
        "org.apache.kafka.common.security.oauthbearer",
    );
    format!(
        "{listener}.sasl.jaas.config={module}.OAuthBearerLoginModule required ;\n\
         {listener}.sasl.server.callback.handler.class={module}.OAuthBearerValidatorCallbackHandler\n\
         {listener}.sasl.oauthbearer.jwks.endpoint.url=file://{}\n\
         {listener}.sasl.oauthbearer.expected.audience={AUDIENCE}\n\
         {listener}.sasl.oauthbearer.expected.issuer={ISSUER}\n\
         {listener}.connections.max.reauth.ms=3600000\n",
        keys.display()
    )
}

/// The properties of a listener `SECURE`, with a certificate of its own.
fn security(directory: &Path, keys: Option<&Path>) -> String {
    let (key, certificate) = (directory.join("key.pem"), directory.join("certificate.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
        ])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{made:?}");
    let both = [&key, &certificate].map(|path| fs::read_to_string(path).expect("openssl wrote it"));
    let keystore = directory.join("keystore.pem");
    fs::write(&keystore, both.concat()).expect("the keystore is written");
    let (user, password) = USER;
    let module = "org.apache.kafka.common.security";
    let (more_mechanisms, tokens) = keys.map_or_else(Default::default, |keys| (",OAUTHBEARER", tokens(keys)));
    format!(
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL\n\
         inter.broker.listener.name=PLAINTEXT\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512{more_mechanisms}\n\
         {tokens}\
         listener.name.secure.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{user}=\"{password}\";\n\
         listener.name.secure.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
         listener.name.secure.ssl.keystore.type=PEM\n\
         listener.name.secure.ssl.keystore.location={}\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS\n\
         allow.everyone.if.no.acl.found=true\n",
        keystore.display()
    )
}

/// Starts a process that dies with this one. The kernel ties it to the thread that starts it, so that must be one
/// that lives as long as the process: a test's own thread does not.
pub fn spawn_for_life(mut command: Command) -> Child {
    type Request = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    // SAFETY: between fork and exec the closure makes one system call and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        });
    }
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in requests {
                // A test that ended meanwhile needs no answer.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, child) = mpsc::channel();
    spawner
        .send((command, answer))
        .expect("the spawner lives as long as the process");
    child.recv().expect("the spawner answers").expect("java starts")
}
