//! The port for lines, over real sockets.

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Gateway, Options, eventually},
    ports::free_addresses,
};

async fn with_lines(configuration: &str, partner: Value) -> (Gateway, SocketAddr) {
    let [data, admin, address] = free_addresses();
    let mut gateway = Gateway::start_with(Options {
        addresses: Some([data, admin]),
        configuration: format!("{configuration}[server.lines]\nlisten = \"{address}\"\n"),
        ..Options::default()
    })
    .await;
    gateway.partner("mill", partner).await;
    gateway
        .put(
            "/v1/schemas/reading/1.0.0",
            json!({"properties": {"n": {"type": "number"}}}),
        )
        .await;
    let route = json!({"match": {"type": "*"}, "to": [{"destination": "files", "topic": "readings"}]});
    gateway.put("/v1/routes/readings", route).await;
    (gateway, address)
}

struct Client<S: std::io::Read> {
    reader: BufReader<S>,
}

impl Client<TcpStream> {
    fn connect(address: SocketAddr) -> Client<TcpStream> {
        Client::over(TcpStream::connect(address).expect("connected"))
    }

    fn over(stream: TcpStream) -> Client<TcpStream> {
        let limit = Some(Duration::from_secs(30));
        stream.set_read_timeout(limit).expect("set");
        stream.set_write_timeout(limit).expect("set");
        Client {
            reader: BufReader::new(stream),
        }
    }

    /// Connected, and known as the key's partner.
    fn known(address: SocketAddr, key: &str) -> Client<TcpStream> {
        let mut client = Client::connect(address);
        client.send(&format!("AUTH {key}\n"));
        assert_eq!(client.answer().as_deref(), Some("+mill"));
        client
    }
}

impl<S: std::io::Read + std::io::Write> Client<S> {
    fn send(&mut self, text: &str) {
        self.reader
            .get_mut()
            .write_all(text.as_bytes())
            .expect("the gateway reads");
    }

    /// Says its key, and gives the answer; none where the connection has ended, be it before the key was sent.
    fn auth(&mut self, key: &str) -> Option<String> {
        let _ = self
            .reader
            .get_mut()
            .write_all(format!("AUTH {key}\n").as_bytes());
        self.answer()
    }

    /// The next line; none where the connection has ended.
    fn answer(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }
}

fn reading(id: &str, n: &str) -> String {
    format!("{{\"type\":\"reading\",\"id\":\"{id}\",\"data\":{{\"n\":{n}}}}}\n")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("ran")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_answered_in_its_turn() {
    let (gateway, address) = with_lines("", json!({"policy": "reject"})).await;
    let key = gateway.key("mill");
    blocking(move || {
        let mut client = Client::known(address, &key);
        client.send(&reading("a", "1"));
        assert_eq!(client.answer().as_deref(), Some("+a"));
        // Many at once, with what is at fault in between; blank lines are no events.
        let lines = [
            &reading("b", "2"),
            "\n \r\n",
            "{\"type\":\"reading\"\n",
            &reading("c", "\"three\""),
            &reading("a", "1").replace('\n', "\r\n"),
            "[1]\n",
            "{\"type\":\"no such\",\"data\":1}\n",
            &reading("d", "4"),
        ]
        .concat();
        client.send(&lines);
        let answers: Vec<String> = (0..7).map(|_| client.answer().expect("answered")).collect();
        let code = |index: usize| answers[index].split(' ').next().expect("a word").to_owned();
        assert_eq!(answers[0], "+b");
        assert_eq!(code(1), "-json-malformed");
        assert_eq!(code(2), "-schema-violation");
        assert_eq!(answers[3], "+a", "known already");
        assert_eq!(code(4), "-event-malformed");
        assert_eq!(code(5), "-type-invalid");
        assert_eq!(answers[6], "+d");
        // Without an id the gateway gives one; in quarantine an event is durable too; the last line may lack its end.
        client.send("{\"type\":\"reading\",\"data\":{}}\n{\"type\":\"unknown\",\"id\":\"q\",\"data\":{}}");
        assert!(client.answer().is_some_and(|answer| answer.len() == 37));
        client
            .reader
            .get_ref()
            .shutdown(std::net::Shutdown::Write)
            .expect("shut");
        assert_eq!(client.answer().as_deref(), Some("+q"));
        assert_eq!(client.answer(), None);
    })
    .await;
    let records = gateway.wait_for_records("readings", 4).await;
    assert_eq!(records.len(), 4);
    assert_eq!(gateway.quarantine().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_nothing() {
    let (gateway, address) = with_lines("", json!({})).await;
    let path = "/v1/partners/mill/keys";
    let made = gateway
        .admin("POST", path, Some(json!({"kind": "secret"})))
        .await
        .expect(201);
    let (id, key) = (
        made["id"].clone(),
        made["key"].as_str().expect("a key").to_owned(),
    );
    let mut open = blocking(move || {
        for (opening, code) in [
            (reading("a", "1"), "-key-missing "),
            ("AUTH hw_0123456789abcdef_x\n".to_owned(), "-key-invalid "),
            ("AUTH \n".to_owned(), "-key-invalid "),
            ("AUTH ".to_owned() + &"x".repeat(2000), "-key-invalid "),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "-key-missing "),
        ] {
            let mut client = Client::connect(address);
            client.send(&opening);
            let answer = client.answer().expect("answered");
            assert!(answer.starts_with(code), "{opening:?}: {answer}");
            assert_eq!(client.answer(), None, "closed");
        }
        Client::known(address, &key)
    })
    .await;
    let path = format!("{path}/{}", id.as_str().expect("an id"));
    assert_eq!(gateway.admin("DELETE", &path, None).await.status, 204);
    blocking(move || {
        open.send(&reading("late", "1"));
        assert!(
            open.answer()
                .is_some_and(|answer| answer.starts_with("-key-invalid "))
        );
        assert_eq!(open.answer(), None, "a revoked key ends its connections");
    })
    .await;
    assert!(gateway.records("readings").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_too_large_or_never_ends_is_cut_off() {
    let limits = "[limits]\nevent_bytes = \"64KiB\"\nbody_idle_s = 1\n";
    let (gateway, address) = with_lines(limits, json!({})).await;
    let key = gateway.key("mill");
    blocking(move || {
        let mut client = Client::known(address, &key);
        let _ = client.reader.get_mut().write_all(&vec![b'x'; 200_000]);
        assert!(
            client
                .answer()
                .is_some_and(|answer| answer.starts_with("-event-too-large "))
        );
        let began = Instant::now();
        let mut client = Client::known(address, &key);
        client.send("{\"type\":");
        assert!(
            client
                .answer()
                .is_some_and(|answer| answer.starts_with("-request-timeout "))
        );
        assert!(began.elapsed() < Duration::from_secs(15));
    })
    .await;
    assert!(gateway.records("readings").is_empty());
}

/// A byte now and then is no progress: the least rate holds over any 10 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_dribbles_is_cut_off() {
    let (gateway, address) = with_lines("", json!({})).await;
    let key = gateway.key("mill");
    let took = blocking(move || {
        let mut client = Client::known(address, &key);
        let mut writer = client.reader.get_ref().try_clone().expect("cloned");
        let began = Instant::now();
        let dribbling = std::thread::spawn(move || {
            // In the end nobody takes it any more.
            for byte in reading("slow", "1").trim_end().bytes().cycle() {
                if writer.write_all(&[byte]).is_err() || began.elapsed() > Duration::from_secs(25) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let answer = client.answer().expect("it is told");
        let took = began.elapsed();
        assert!(answer.starts_with("-request-timeout "), "{answer}");
        assert_eq!(client.answer(), None, "closed");
        drop(client);
        dribbling.join().expect("ended");
        took
    })
    .await;
    assert!(
        (Duration::from_millis(9500)..Duration::from_secs(15)).contains(&took),
        "{took:?}"
    );
    assert!(gateway.records("readings").is_empty());
}

/// Past its rate a sender waits, with its lines in its own socket; none is refused or lost.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_too_fast_is_not_read() {
    let (gateway, address) = with_lines("", json!({"rate_limit": {"events_per_s": 200, "burst": 200}})).await;
    let key = gateway.key("mill");
    let took = blocking(move || {
        let mut client = Client::known(address, &key);
        let began = Instant::now();
        for batch in 0..8 {
            let lines: String = (0..100).map(|n| reading(&format!("{batch}-{n}"), "1")).collect();
            client.send(&lines);
            for n in 0..100 {
                assert_eq!(client.answer(), Some(format!("+{batch}-{n}")));
            }
        }
        began.elapsed()
    })
    .await;
    assert!(
        took > Duration::from_secs(2),
        "800 events at 200 a second after a burst of 200: {took:?}"
    );
    assert_eq!(gateway.wait_for_records("readings", 800).await.len(), 800);
}

/// A connection from another of this machine's addresses.
async fn connect_from(source: &str, address: SocketAddr) -> Client<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(source.parse().expect("an address")).expect("bound");
    let stream = socket.connect(address).await.expect("connected");
    let stream = stream.into_std().expect("taken");
    stream.set_nonblocking(false).expect("set");
    Client::over(stream)
}

/// Past a cap a connection is closed without a word; when another has ended, the next is served.
#[tokio::test(flavor = "multi_thread")]
async fn connections_past_a_cap_are_closed_and_one_that_ends_makes_room() {
    for (limit, is_of_address) in [("connections_per_address", true), ("connections", false)] {
        let (gateway, address) = with_lines(&format!("[limits]\n{limit} = 2\n"), json!({})).await;
        let key = gateway.key("mill");
        let known = key.clone();
        let mut kept = blocking(move || {
            let mut kept = vec![Client::known(address, &known), Client::known(address, &known)];
            assert_eq!(Client::connect(address).auth(&known), None, "{limit}");
            kept[0].send(&reading("kept", "1"));
            assert_eq!(kept[0].answer().as_deref(), Some("+kept"), "{limit}");
            kept
        })
        .await;
        let mut from_another = connect_from("127.0.0.2:0", address).await;
        let known = key.clone();
        let answer = blocking(move || from_another.auth(&known)).await;
        assert_eq!(answer.as_deref(), is_of_address.then_some("+mill"), "{limit}");
        kept.pop();
        eventually("there is room again", async || {
            let known = key.clone();
            let answer = blocking(move || Client::connect(address).auth(&known)).await;
            (answer.as_deref() == Some("+mill")).then_some(())
        })
        .await;
    }
}

/// Sends one line after another, a few ahead of their answers, until the connection ends; gives the ids answered for.
fn send_until_it_ends(address: SocketAddr, key: &str, prefix: &str) -> Vec<String> {
    let mut client = Client::known(address, key);
    let mut answered = Vec::new();
    for batch in 0.. {
        let lines: String = (0..20)
            .map(|n| reading(&format!("{prefix}-{batch}-{n}"), "1"))
            .collect();
        if client.reader.get_mut().write_all(lines.as_bytes()).is_err() {
            return answered;
        }
        for _ in 0..20 {
            match client.answer() {
                Some(answer) if answer.starts_with('+') => answered.push(answer[1..].to_owned()),
                Some(answer) => assert!(answer.starts_with("-shutting-down "), "{answer}"),
                None => return answered,
            }
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_kills_and_shutdown() {
    let (mut gateway, address) = with_lines("", json!({})).await;
    let key: Arc<str> = gateway.key("mill").into();
    let mut owed = HashSet::new();
    for life in 0..4 {
        let senders: Vec<_> = (0..3)
            .map(|sender| {
                let key = Arc::clone(&key);
                blocking(move || send_until_it_ends(address, &key, &format!("{life}-{sender}")))
            })
            .collect();
        let senders = tokio::spawn(futures::future::join_all(senders));
        tokio::time::sleep(Duration::from_millis(700)).await;
        if life % 2 == 0 {
            gateway.kill();
        } else {
            let began = Instant::now();
            assert!(gateway.terminate().await.success());
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        for answered in senders.await.expect("ran") {
            owed.extend(answered);
        }
        gateway.start_again().await;
    }
    assert!(owed.len() > 100, "{}", owed.len());
    eventually("all that was answered is delivered", async || {
        let records = gateway.records("readings");
        let found: HashSet<&str> = records
            .iter()
            .filter_map(|record| record["id"].as_str())
            .collect();
        owed.iter().all(|id| found.contains(id.as_str())).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_a_client_certificate_stands_for_a_key() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let client = rcgen::generate_simple_self_signed(["mill".to_owned()]).expect("a certificate");
    let (certificate, key) = (
        write("server.pem", server.cert.pem()),
        write("server.key", server.signing_key.serialize_pem()),
    );
    let authority = write("client.pem", client.cert.pem());
    let identity = write("client.key", client.signing_key.serialize_pem());
    let configuration =
        format!("[server.tls]\ncertificate = {certificate:?}\nkey = {key:?}\nclient_ca = {authority:?}\n");
    let (gateway, address) = with_lines(&configuration, json!({})).await;
    let fingerprint = {
        use sha2::{Digest as _, Sha256};
        hex::encode(Sha256::digest(client.cert.der()))
    };
    gateway
        .put("/v1/partners/mill", json!({"client_certificates": [fingerprint]}))
        .await;
    let bearer = gateway.key("mill");
    let talk = move |with_certificate: bool, text: String| {
        let mut command = std::process::Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect", &address.to_string()]);
        if with_certificate {
            command.arg("-cert").arg(&authority).arg("-key").arg(&identity);
        }
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("openssl runs");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(text.as_bytes()).expect("sent");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("read");
        // It does not end by itself while the connection is open.
        let _ = child.kill();
        let _ = child.wait();
        drop(input);
        line
    };
    let answers = blocking(move || {
        [
            talk(true, reading("by-certificate", "1")),
            talk(false, reading("by-nothing", "1")),
            talk(true, format!("AUTH {bearer}\n{}", reading("by-both", "1"))),
            talk(false, format!("AUTH {bearer}\n{}", reading("by-key", "1"))),
        ]
    })
    .await;
    assert_eq!(answers[0].lines().next(), Some("+by-certificate"), "{answers:?}");
    assert!(answers[1].starts_with("-key-missing "), "{answers:?}");
    assert!(answers[2].starts_with("+mill\n"), "{answers:?}");
    assert!(
        answers[3].starts_with("-key-forbidden "),
        "this partner's keys need its certificate: {answers:?}"
    );
    gateway.wait_for_records("readings", 2).await;
}
