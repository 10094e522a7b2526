//! Signatures, with the vectors that the services publish.

use http::Request;
use jiff::Timestamp;

use super::super::signature::{Claim, Secret};
use crate::{
    problem::Code,
    registry::model::{
        SigningSecret,
        envelope::{Scheme, Signature},
    },
};

struct Vector {
    scheme: Scheme,
    header: &'static str,
    secret: &'static str,
    at_s: i64,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

const STANDARD: Vector = Vector {
    scheme: Scheme::StandardWebhooks,
    header: "webhook-signature",
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    at_s: 1_614_265_330,
    headers: &[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        (
            "webhook-signature",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ],
    body: r#"{"test": 2432232314}"#,
};

const GITHUB: Vector = Vector {
    scheme: Scheme::Github,
    header: "x-hub-signature-256",
    secret: "It's a Secret to Everybody",
    at_s: 0,
    headers: &[(
        "x-hub-signature-256",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    )],
    body: "Hello, World!",
};

const SLACK: Vector = Vector {
    scheme: Scheme::Slack,
    header: "x-slack-signature",
    secret: "8f742231b10e8888abcd99yyyzzz85a5",
    at_s: 1_531_420_618,
    headers: &[
        ("x-slack-request-timestamp", "1531420618"),
        (
            "x-slack-signature",
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        ),
    ],
    body: concat!(
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9",
        "T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&",
        "text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F9",
        "6rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b670",
        "3c",
    ),
};

impl Vector {
    fn signature(&self) -> Signature {
        Signature {
            header: self.header.to_owned(),
            scheme: self.scheme,
        }
    }

    fn claim(&self, headers: &[(&str, &str)], at_s: i64) -> Result<Claim, Code> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let now = Timestamp::from_second(at_s).unwrap();
        Claim::read(&head.headers, &self.signature(), now).map_err(|problem| problem.code)
    }

    fn holds(&self, headers: &[(&str, &str)], at_s: i64, secret: &str, body: &str) -> Result<bool, Code> {
        let secret = Secret::new(&SigningSecret::new(secret.to_owned()));
        Ok(self.claim(headers, at_s)?.is_by(&secret, body.as_bytes()))
    }
}

#[test]
fn the_published_vectors_hold() {
    for vector in [&STANDARD, &GITHUB, &SLACK] {
        let holds = |secret: &str, body: &str| vector.holds(vector.headers, vector.at_s, secret, body);
        assert_eq!(holds(vector.secret, vector.body), Ok(true), "{:?}", vector.scheme);
        assert_eq!(holds(vector.secret, &format!("{} ", vector.body)), Ok(false));
        assert_eq!(holds("whsec_AAAA", vector.body), Ok(false));
    }
}

#[test]
fn stripes_form_holds_time_and_signatures_in_one_header() {
    use ring::hmac;
    let secret = "whsec_test_secret";
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hex::encode(hmac::sign(&key, b"1700000000.{}"));
    let stripe = Vector {
        scheme: Scheme::Stripe,
        header: "stripe-signature",
        secret: "whsec_test_secret",
        at_s: 1_700_000_000,
        headers: &[],
        body: "{}",
    };
    let old = "00".repeat(32);
    let value = format!("t=1700000000,v1={old},v1={tag},v0=anything");
    let headers = [("stripe-signature", value.as_str())];
    assert_eq!(stripe.holds(&headers, stripe.at_s, secret, "{}"), Ok(true));
    assert_eq!(
        stripe.holds(&headers, stripe.at_s + 301, secret, "{}"),
        Err(Code::SignatureInvalid)
    );
    let untimed = [("stripe-signature", &*format!("v1={tag}"))];
    assert_eq!(
        stripe.holds(&untimed, stripe.at_s, secret, "{}"),
        Err(Code::SignatureInvalid)
    );
}

#[test]
fn a_time_out_of_tolerance_is_refused_before_the_body() {
    for (offset_s, expected) in [(300, true), (-300, true), (301, false), (-301, false)] {
        let claim = STANDARD.claim(STANDARD.headers, STANDARD.at_s + offset_s);
        assert_eq!(claim.is_ok(), expected, "{offset_s} s");
    }
}

#[test]
fn one_of_several_signatures_is_enough_and_none_is_not() {
    let with = |signature: &str| {
        let headers = [
            STANDARD.headers[0],
            STANDARD.headers[1],
            ("webhook-signature", signature),
        ];
        STANDARD.holds(&headers, STANDARD.at_s, STANDARD.secret, STANDARD.body)
    };
    let good = STANDARD.headers[2].1;
    let other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(with(&format!("{other} v1a,xyz {good}")), Ok(true));
    assert_eq!(with(other), Ok(false));
    for none in [
        "",
        "v1",
        "v1,",
        "v2,AAAA",
        &good[3..],
        &good.replace("v1,", "v1a,"),
    ] {
        assert_eq!(with(none), Err(Code::SignatureInvalid), "{none}");
    }
    for missing in 0..3 {
        let mut headers = STANDARD.headers.to_vec();
        headers.remove(missing);
        assert_eq!(
            STANDARD.claim(&headers, STANDARD.at_s).err(),
            Some(Code::SignatureInvalid)
        );
    }
    let twice = [STANDARD.headers, &STANDARD.headers[2..]].concat();
    assert_eq!(
        STANDARD.claim(&twice, STANDARD.at_s).err(),
        Some(Code::SignatureInvalid)
    );
}
