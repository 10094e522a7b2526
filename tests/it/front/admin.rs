//! The admin port behind TLS, client certificates on it, and tokens of an identity provider, with the command line as
//! its client.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::harness::{
    gateway::{Answer, Gateway, Options, PATIENCE, eventually},
    identity::Provider,
};

/// An authority that issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    path: PathBuf,
}

impl Authority {
    fn new(gateway: &Gateway, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let path = gateway.path(&format!("{name}.pem"));
        std::fs::write(&path, params.self_signed(&key).expect("signed").pem()).expect("written");
        Authority {
            issuer: Issuer::new(params, key),
            path,
        }
    }

    /// Certificate and key.
    fn issue(&self, gateway: &Gateway, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".to_owned(), name.to_owned()];
        let mut params = CertificateParams::new(names).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        let paths = (
            gateway.path(&format!("{name}.pem")),
            gateway.path(&format!("{name}.key")),
        );
        std::fs::write(&paths.0, certificate).expect("written");
        std::fs::write(&paths.1, key.serialize_pem()).expect("written");
        paths
    }
}

/// A gateway whose admin port is behind TLS, with everything that a client may hold.
struct Secured {
    gateway: Gateway,
    token: String,
    authority: Authority,
    client: (PathBuf, PathBuf),
    stranger: (PathBuf, PathBuf),
}

impl Secured {
    async fn start(more: &str) -> Secured {
        let mut gateway = Gateway::start().await;
        let token = gateway.token();
        assert!(gateway.terminate().await.success());
        let authority = Authority::new(&gateway, "authority");
        let (certificate, key) = authority.issue(&gateway, "gateway.test");
        let client = authority.issue(&gateway, "client.test");
        let stranger = Authority::new(&gateway, "nobody").issue(&gateway, "stranger.test");
        let ca = &authority.path;
        gateway.spawn_with(&format!(
            "[server.admin_tls]\ncertificate = {certificate:?}\nkey = {key:?}\nclient_ca = {ca:?}\n{more}"
        ));
        let secured = Secured {
            gateway,
            token,
            authority,
            client,
            stranger,
        };
        eventually("the admin port answers", async || {
            let output = secured.list(Some(&secured.client), Some(&secured.token));
            output.status.success().then_some(())
        })
        .await;
        secured
    }

    fn url(&self) -> String {
        self.gateway.admin_url().replace("http://", "https://")
    }

    /// The command line, with what its environment says.
    fn run(&self, arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headworks"));
        command.args(arguments).current_dir(self.gateway.path("."));
        for (name, value) in environment {
            command.env(name, value);
        }
        command.output().expect("the program runs")
    }

    fn list(&self, identity: Option<&(PathBuf, PathBuf)>, token: Option<&str>) -> Output {
        let url = self.url();
        let ca = self.authority.path.display().to_string();
        let mut arguments = vec!["partner", "list", "--url", &url, "--cacert", &ca];
        arguments.extend(token.iter().flat_map(|token| ["--token", token]));
        let shown =
            identity.map(|(certificate, key)| (certificate.display().to_string(), key.display().to_string()));
        if let Some((certificate, key)) = &shown {
            arguments.extend(["--cert", certificate, "--key", key]);
        }
        self.run(&arguments, &[])
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_asks_for_a_certificate() {
    let mut secured = Secured::start("").await;
    let token = secured.token.clone();
    let bare = secured.list(None, Some(&token));
    assert_eq!(
        bare.status.code(),
        Some(1),
        "no certificate, no HTTP: {}",
        said(&bare)
    );
    let strange = secured.list(Some(&secured.stranger), Some(&token));
    assert_eq!(strange.status.code(), Some(1), "{}", said(&strange));
    // A certificate is no token. (The file ./data/admin-token would be one.)
    let wrong = secured.list(Some(&secured.client), Some("hwt_0011223344556677_x"));
    assert!(said(&wrong).contains("token-invalid"), "{}", said(&wrong));
    // The same from the environment, and a system that does not know the authority.
    let (certificate, key) = secured.client.clone();
    let url = secured.url();
    let arguments = ["partner", "list", "--url", &url, "--token", &token];
    let identity: [(&str, &Path); 2] = [("HEADWORKS_CERT", &certificate), ("HEADWORKS_CERT_KEY", &key)];
    let known = [
        ("HEADWORKS_CACERT", secured.authority.path.as_path()),
        identity[0],
        identity[1],
    ];
    let output = secured.run(&arguments, &known);
    assert!(output.status.success(), "{}", said(&output));
    let output = secured.run(&arguments, &identity);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("certificate"), "{}", said(&output));
    // Half of an identity, and files that are none.
    let output = secured.run(&arguments, &known[..2]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("--cert needs --key"), "{}", said(&output));
    let output = secured.run(&arguments, &[identity[0], ("HEADWORKS_CERT_KEY", &certificate)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("openssl pkcs8"), "{}", said(&output));
    // Plain HTTP is no way in.
    let answer = crate::harness::client().get(format!("{}/healthz", secured.gateway.admin_url()));
    assert!(answer.send().await.is_err());
    // For health checks that have a certificate.
    let config = secured.gateway.path("headworks.toml");
    let config = config.display().to_string();
    let output = secured.run(&["doctor", "--ready", "--config", &config], &identity);
    assert!(output.status.success(), "{}", said(&output));
    let output = secured.run(&["doctor", "--ready", "--config", &config], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(secured.gateway.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_may_go_without_a_certificate_where_that_is_said() {
    let mut secured = Secured::start("client_certificate = \"optional\"\n").await;
    let ca = std::fs::read(&secured.authority.path).expect("readable");
    let client = reqwest::Client::builder()
        .tls_certs_merge([reqwest::Certificate::from_pem(&ca).expect("PEM")])
        .build()
        .expect("a client");
    let get = async |path: &str| {
        let request = client
            .get(format!("{}{path}", secured.url()))
            .bearer_auth(&secured.token);
        Answer::read(request.send().await.expect("answered")).await
    };
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(get(path).await.status, 200, "{path}");
    }
    for path in ["/v1/partners", "/v1/tokens", "/v1/quarantine", "/v1/tail"] {
        let problem = get(path).await.expect(401);
        assert_eq!(problem["code"], "certificate-missing", "{path}");
    }
    let strange = secured.list(Some(&secured.stranger), Some(&secured.token));
    assert_eq!(
        strange.status.code(),
        Some(1),
        "a certificate that nobody knows is worse than none"
    );
    let config = secured.gateway.path("headworks.toml").display().to_string();
    let output = secured.run(&["doctor", "--ready", "--config", &config], &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(secured.gateway.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_ports_certificate_is_read_anew() {
    let mut secured = Secured::start("").await;
    // What is no certificate changes nothing; another authority's does.
    let served = secured.gateway.path("gateway.test.pem");
    std::fs::write(&served, "no certificate").expect("written");
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let token = secured.token.clone();
    assert!(secured.list(Some(&secured.client), Some(&token)).status.success());
    let other = Authority::new(&secured.gateway, "other");
    other.issue(&secured.gateway, "gateway.test");
    let old = std::mem::replace(&mut secured.authority.path, other.path);
    eventually("the new certificate is served", async || {
        let output = secured.list(Some(&secured.client), Some(&token));
        output.status.success().then_some(())
    })
    .await;
    secured.authority.path = old;
    assert!(!secured.list(Some(&secured.client), Some(&token)).status.success());
    assert!(secured.gateway.terminate().await.success());
}

impl Provider {
    fn token(&self, subject: &str, role: &str) -> String {
        self.token_for(300, subject, role)
    }

    /// A token that expires after so many seconds.
    fn token_for(&self, seconds: i64, subject: &str, role: &str) -> String {
        let expires = Timestamp::now().as_second() + seconds;
        self.sign(
            &json!({"iss": "https://login.test", "aud": "headworks", "sub": subject, "exp": expires,
            "roles": [role]}),
        )
    }
}

/// A gateway that takes the tokens of this provider, and the file in which the provider's keys stand.
async fn believing(provider: &Provider) -> (Gateway, NamedTempFile) {
    let keys = NamedTempFile::new().expect("a file can be made");
    std::fs::write(keys.path(), provider.published()).expect("written");
    let gateway = Gateway::start_with(Options {
        configuration: format!(
            "[server.admin_jwt]\nissuer = \"https://login.test\"\naudience = \"headworks\"\njwks = {:?}\n",
            keys.path()
        ),
        ..Options::default()
    })
    .await;
    (gateway, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_is_let_go_when_the_token_has_expired() {
    let provider = Provider::new("one");
    let (gateway, _keys) = believing(&provider).await;
    // Clocks may differ by 30 s: it is taken for five seconds more.
    let token = provider.token_for(5 - 30, "ann", "viewer");
    let watch = async |token: &str| {
        let request = crate::harness::client()
            .get(format!("{}/v1/tail", gateway.admin_url()))
            .bearer_auth(token);
        request.send().await.expect("answered")
    };
    let watches = watch(&token).await;
    assert_eq!(watches.status(), 200);
    let told = tokio::time::timeout(PATIENCE, watches.text()).await;
    let told = told.expect("the stream ends").expect("text");
    assert!(
        told.ends_with("event: ended\ndata: the token has expired; get another\n\n"),
        "{told}"
    );
    assert_eq!(watch(&token).await.status(), 401, "it is not taken any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_an_identity_provider_are_taken_by_their_role() {
    let provider = Provider::new("one");
    let (gateway, keys) = believing(&provider).await;
    let call = async |method: &str, path: &str, token: &str| {
        let request = crate::harness::client()
            .request(
                method.parse().expect("a method"),
                format!("{}{path}", gateway.admin_url()),
            )
            .bearer_auth(token)
            .json(&json!({}));
        Answer::read(request.send().await.expect("answered")).await
    };
    let publisher = provider.token("ann", "publisher");
    call("PUT", "/v1/types/a.b", &publisher).await.expect(201);
    let problem = call("PUT", "/v1/partners/p", &publisher).await.expect(403);
    assert_eq!(problem["code"], "role-insufficient");
    let operator = provider.token("bob@company.example", "operator");
    call("PUT", "/v1/partners/p", &operator).await.expect(201);
    let output = Command::new(env!("CARGO_BIN_EXE_headworks"))
        .args([
            "partner",
            "list",
            "--url",
            &gateway.admin_url(),
            "--token",
            &operator,
        ])
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", said(&output));
    // The log of changes names who did it.
    let changes = gateway.admin("GET", "/v1/changes", None).await.expect(200);
    let by = |name: &str| {
        let items = changes["items"].as_array().expect("a list");
        items.iter().any(|change| change["by"] == name)
    };
    assert!(by("jwt:ann") && by("jwt:bob@company.example"), "{changes}");
    let other = Provider::new("one").token("eve", "admin");
    let problem = call("GET", "/v1/partners", &other).await.expect(401);
    assert_eq!(problem["code"], "token-invalid");
    // The gateway's own tokens go on, and none can be called like a subject.
    call("GET", "/v1/partners", &gateway.token()).await.expect(200);
    let body = json!({"name": "jwt:ann", "role": "viewer"});
    let problem = gateway.admin("POST", "/v1/tokens", Some(body)).await.expect(422);
    assert_eq!(problem["errors"][0]["pointer"], "/name", "{problem}");
    // The provider changes its key: the new one is found, and the old one forgotten.
    let next = Provider::new("two");
    std::fs::write(keys.path(), next.published()).expect("written");
    let renewed = next.token("ann", "viewer");
    eventually("the new key is read", async || {
        let answer = call("GET", "/v1/partners", &renewed).await;
        (answer.status == 200).then_some(())
    })
    .await;
    call("GET", "/v1/partners", &publisher).await.expect(401);
    assert!(
        !gateway.log().contains(&publisher),
        "no token is written to the log"
    );
}
