//! Keys, tokens and the first admin token.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _, time::Duration};

use jiff::Timestamp;

use super::{folder, registry, write};
use crate::registry::{
    model::{Change, Digest, Role, SigningSecret, Token},
    now,
    secret::{KEY_PREFIX, NewSecret, TOKEN_PREFIX, id_of},
};

fn token(secret: &NewSecret, role: Role, expires: Option<Timestamp>) -> Change {
    Change::CreateToken {
        token: Token {
            id: secret.id.clone(),
            name: "ci".to_owned(),
            role,
            sha256: secret.sha256,
            created: now(),
            expires,
        },
    }
}

#[test]
fn secrets_have_192_bits_and_split_in_one_way() {
    let mut texts = BTreeSet::new();
    for _ in 0..200 {
        let made = NewSecret::generate(KEY_PREFIX).expect("made");
        let secret = made
            .text
            .strip_prefix(&format!("hw_{}_", made.id))
            .expect("the form");
        assert_eq!(secret.len(), 32, "24 bytes in base64url");
        assert_eq!(id_of(KEY_PREFIX, &made.text), Some(made.id.as_str()));
        assert_eq!(id_of(TOKEN_PREFIX, &made.text), None);
        assert_eq!(made.sha256, Digest::of(made.text.as_bytes()));
        texts.insert(made.text);
    }
    assert_eq!(texts.len(), 200);
    for other in [
        "",
        "hw",
        "hw_",
        "hw_0123456789abcdef",
        "hw_0123456789abcdef_",
        "hw_x123456789abcdef_s",
        "hwt__s",
    ] {
        assert_eq!(id_of(KEY_PREFIX, other), None, "{other}");
    }
    let (made, signing) = NewSecret::generate_signing(None).expect("made");
    assert!(made.text.starts_with("whsec_") && made.text == signing.reveal());
}

#[test]
fn a_signing_secret_does_not_show_itself() {
    let secret = SigningSecret::new("whsec_abc".to_owned());
    assert_eq!(format!("{secret:?}"), "***");
}

#[tokio::test]
async fn only_the_whole_token_counts_and_only_in_its_time() {
    let (_directory, store) = folder();
    let registry = registry(&store).await;
    let secret = NewSecret::generate(TOKEN_PREFIX).expect("made");
    let expires = now() + Duration::from_secs(60);
    write(&registry, token(&secret, Role::Publisher, Some(expires))).await;
    let state = registry.state();
    let role = |text: &str, at| state.authenticate_token(text, at).map(|token| token.value.role);
    assert_eq!(role(&secret.text, now()), Some(Role::Publisher));
    assert_eq!(role(&secret.text, expires), None, "expired");
    let mut other = secret.text.clone();
    other.pop();
    for wrong in [
        &other,
        &format!("{}x", secret.text),
        &secret.id,
        "",
        "hwt__",
        "hwt_0000000000000000_x",
    ] {
        assert_eq!(role(wrong, now()), None, "{wrong}");
    }
    write(
        &registry,
        Change::DeleteToken {
            id: secret.id.clone(),
        },
    )
    .await;
    assert!(registry.state().authenticate_token(&secret.text, now()).is_none());
}

#[tokio::test]
async fn the_first_start_makes_an_admin_token() {
    let (directory, store) = folder();
    let path = directory.path().join("data/admin-token");
    let node = registry(&store).await;
    assert!(node.ensure_admin_token(&path).await.expect("made"));
    let mode = std::fs::metadata(&path).expect("written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).expect("read");
    let known = node
        .state()
        .authenticate_token(text.trim(), now())
        .expect("it is live");
    assert_eq!(known.value.role, Role::Admin);
    assert!(!node.ensure_admin_token(&path).await.expect("there is one"));
    assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
    // The store holds no secret.
    for stored in store.list("registry", None).await.expect("listed") {
        let bytes = store.get(&stored).await.expect("got").expect("there");
        assert!(!String::from_utf8_lossy(&bytes).contains(text.trim()), "{stored}");
    }
}

#[tokio::test]
async fn two_nodes_make_one_admin_token() {
    let (directory, store) = folder();
    let nodes = [registry(&store).await, registry(&store).await];
    let paths = ["one", "two"].map(|node| directory.path().join(node).join("admin-token"));
    let (one, two) = tokio::join!(
        nodes[0].ensure_admin_token(&paths[0]),
        nodes[1].ensure_admin_token(&paths[1])
    );
    let made = [one.expect("well"), two.expect("well")];
    assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
    assert_eq!(paths.iter().map(|path| path.exists()).collect::<Vec<_>>(), made);
    assert_eq!(nodes[0].fresh_state().await.expect("read").tokens.len(), 1);
}

#[tokio::test]
async fn a_crash_between_file_and_log_loses_no_token() {
    let (directory, store) = folder();
    let path = directory.path().join("admin-token");
    let pending = directory.path().join("admin-token.pending");
    let node = registry(&store).await;

    // Written, but never in the log: a new one is made.
    std::fs::write(&pending, "hwt_0000000000000000_unknown\n").expect("written");
    assert!(node.ensure_admin_token(&path).await.expect("made"));
    assert!(!pending.exists());
    let text = std::fs::read_to_string(&path).expect("read");
    assert!(node.state().authenticate_token(text.trim(), now()).is_some());

    // In the log, but not yet in its place.
    std::fs::rename(&path, &pending).expect("moved back");
    let restarted = registry(&store).await;
    assert!(restarted.ensure_admin_token(&path).await.expect("published"));
    assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
    assert_eq!(node.state().tokens.len(), 1);
}

#[tokio::test]
async fn an_expired_admin_is_none() {
    let (directory, store) = folder();
    let registry = registry(&store).await;
    let secret = NewSecret::generate(TOKEN_PREFIX).expect("made");
    let past = now() - Duration::from_secs(1);
    write(&registry, token(&secret, Role::Admin, Some(past))).await;
    assert!(
        registry
            .ensure_admin_token(&directory.path().join("t"))
            .await
            .expect("made")
    );
}
