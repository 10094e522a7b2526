//! What it costs to know who sends, by the same calls that admit a request.

use std::{hint::black_box, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use headworks::{
    authenticate::{Caller, Keys, Places, key_id},
    event::PartnerName,
    registry::{
        model::{Key, KeyKind, Partner, SealedSecret, SigningSecret, State, Versioned, envelope::Signature},
        now,
        secret::{KEY_PREFIX, NewSecret},
    },
};
use http::{Request, request::Parts};
use ring::hmac;

use crate::{
    cost::{self, Work, median},
    verdict::{Bound, Verdict},
};

/// Each with a secret key and a signing key.
const PARTNERS: usize = 10_000;
const BODY_BYTES: usize = 1024;
const SECRET_US_MAX: f64 = 0.3;
const SIGNATURE_US_MAX: f64 = 3.0;
const WEBHOOK_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";

pub fn measure(rounds: usize) -> [Verdict; 2] {
    println!("\nauthentication among {PARTNERS} partners, µs of CPU a request, in process");
    let sender = Sender::new();
    let plain = sender.plain();
    let body = [b'x'; BODY_BYTES];
    let signed = sender.signed(&body);
    let mut works = [
        Work::new("secret key", 1, || {
            let caller = Caller::new(&plain, None);
            let identity = sender.keys.identify(&plain, &caller, &Places::default());
            black_box(identity.expect("the key is live"));
        }),
        Work::new("Standard Webhooks' signature over 1 KiB", 1, || {
            sender.verify(&signed, &body);
        }),
    ];
    let costs = cost::measure(&mut works, rounds);
    [
        Verdict::new(
            "authentication by a secret key, µs",
            median(&costs[0]),
            Bound::AtMost(SECRET_US_MAX),
        ),
        Verdict::new(
            "authentication by a signature over 1 KiB, µs",
            median(&costs[1]),
            Bound::AtMost(SIGNATURE_US_MAX),
        ),
    ]
}

/// One of many partners.
struct Sender {
    keys: Keys,
    key: String,
    signing_id: String,
    signing_secret: SigningSecret,
}

impl Sender {
    fn new() -> Sender {
        let mut state = State::default();
        let mut own = None;
        for number in 0..PARTNERS {
            let name: PartnerName = format!("partner-{number}")
                .parse()
                .expect("the name is a partner's");
            state.partners.insert(name.clone(), versioned(Partner::default()));
            let secret = NewSecret::generate(KEY_PREFIX).expect("there are random bytes");
            put(&mut state, &name, KeyKind::Secret, &secret, None);
            let (signing, text) = NewSecret::generate_signing(None).expect("there are random bytes");
            let sealed = SealedSecret::new(text.reveal().to_owned());
            put(&mut state, &name, KeyKind::Signing, &signing, Some(sealed));
            if number == PARTNERS / 2 {
                own = Some((secret.text, signing.id, text));
            }
        }
        // Nothing is sealed here: that is done once for each change of the registry.
        let open = |key: &Key| {
            let sealed = key.signing_secret.as_ref()?;
            Some(SigningSecret::new(sealed.as_str().to_owned()))
        };
        let (key, signing_id, signing_secret) = own.expect("one is in the middle");
        Sender {
            keys: Keys::build(&state, &Keys::default(), open),
            key,
            signing_id,
            signing_secret,
        }
    }

    fn plain(&self) -> Parts {
        head(
            "/v1/events/app.page_view",
            &[("authorization", &format!("Bearer {}", self.key))],
        )
    }

    fn signed(&self, body: &[u8]) -> Parts {
        let time = now().as_second().to_string();
        let secret = self.signing_secret.reveal().trim_start_matches("whsec_");
        let secret = STANDARD.decode(secret).expect("the secret is base64");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let before = format!("{WEBHOOK_ID}.{time}.");
        let tag = hmac::sign(&key, &[before.as_bytes(), body].concat());
        head(
            &format!("/v1/events/app.page_view?key_id={}", self.signing_id),
            &[
                ("webhook-id", WEBHOOK_ID),
                ("webhook-timestamp", &time),
                ("webhook-signature", &format!("v1,{}", STANDARD.encode(tag))),
            ],
        )
    }

    /// All that is done for a signed request, which must carry no other key.
    fn verify(&self, head: &Parts, body: &[u8]) {
        let id = key_id(head.uri.query().unwrap_or_default()).expect("the URL names the key");
        let caller = Caller::new(head, None);
        let other = self.keys.identify(head, &caller, &Places::default());
        assert!(other.is_err(), "there is no other key");
        let signed = self.keys.signed(head, caller, &id, &Signature::standard());
        let identity = signed
            .expect("the headers are in order")
            .verify(body)
            .expect("the signature is right");
        black_box(identity);
    }
}

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::post(uri)
        .header("host", "events.example")
        .header("user-agent", "bench/1.0")
        .header("content-type", "application/json")
        .header("content-length", BODY_BYTES);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("the request is one").into_parts().0
}

fn put(
    state: &mut State,
    partner: &PartnerName,
    kind: KeyKind,
    secret: &NewSecret,
    signing_secret: Option<SealedSecret>,
) {
    let key = Key {
        id: secret.id.clone(),
        partner: partner.clone(),
        kind,
        sha256: secret.sha256,
        signing_secret,
        created: now(),
        expires: None,
        types: Vec::new(),
    };
    state.keys.insert(secret.id.clone(), versioned(key));
}

fn versioned<T>(value: T) -> Arc<Versioned<T>> {
    Arc::new(Versioned { sequence: 1, value })
}
