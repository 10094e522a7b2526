use bytes::Bytes;

use super::{Store, check};
use crate::config::{Secret, StoreSettings};

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("file:{}/deep/er", directory.path().display());
    let store = Store::open(&url).expect("the store opens");
    (directory, store)
}

#[tokio::test]
async fn what_was_put_is_got_listed_and_deleted() {
    let (_directory, store) = store();
    assert_eq!(store.get("a/b").await.expect("get"), None);
    store.put("a/b", Bytes::from_static(b"one")).await.expect("put");
    store
        .put("a/b", Bytes::from_static(b"two"))
        .await
        .expect("put over");
    assert_eq!(store.get("a/b").await.expect("get").as_deref(), Some(&b"two"[..]));
    store
        .put("a~/b", Bytes::from_static(b"elsewhere"))
        .await
        .expect("put");
    assert_eq!(store.list("a", None).await.expect("list"), ["a/b"]);
    store.delete("a/b").await.expect("delete");
    store.delete("a/b").await.expect("delete what is gone");
    assert_eq!(store.get("a/b").await.expect("get"), None);
}

#[tokio::test]
async fn put_if_absent_lets_one_writer_win() {
    let (_directory, store) = store();
    let writers = (0..16).map(|number| {
        let store = store.clone();
        async move {
            store
                .put_if_absent("log/1", Bytes::from(number.to_string()))
                .await
        }
    });
    let won = futures::future::join_all(writers).await;
    assert_eq!(won.iter().filter(|result| matches!(result, Ok(true))).count(), 1);
    assert_eq!(
        won.iter().filter(|result| matches!(result, Ok(false))).count(),
        15
    );
    let winner = won
        .iter()
        .position(|result| matches!(result, Ok(true)))
        .expect("one won");
    let kept = store.get("log/1").await.expect("get").expect("it is there");
    assert_eq!(kept, winner.to_string());
    assert_eq!(
        store.list("log", None).await.expect("list"),
        ["log/1"],
        "no staging file is left"
    );
}

#[tokio::test]
async fn lists_ascend_from_after() {
    let (_directory, store) = store();
    for number in [3, 11, 1, 2, 20] {
        store
            .put(&format!("log/{number:020}"), Bytes::new())
            .await
            .expect("put");
    }
    let listed = store
        .list("log", Some(&format!("log/{:020}", 2)))
        .await
        .expect("list");
    assert_eq!(listed, [3, 11, 20].map(|number| format!("log/{number:020}")));
    assert_eq!(store.list("nothing", None).await.expect("list"), [""; 0]);
}

#[tokio::test]
async fn paths_cannot_leave_the_store() {
    let (directory, store) = store();
    for path in ["../out", "a/../../out", "/etc//x", "."] {
        assert!(store.put(path, Bytes::from_static(b"x")).await.is_err(), "{path}");
        assert!(store.get(path).await.is_err(), "{path}");
    }
    assert!(!directory.path().join("deep/out").exists());
}

#[test]
fn other_urls_are_refused_with_what_to_write() {
    for (url, hint) in [
        ("s3://", "no bucket"),
        ("s3:bucket", "s3://bucket/path"),
        ("data/store", "file:data/store"),
        ("ftp://host", "file:data/store"),
        ("file:", "empty"),
        ("file://host/path", "absolute"),
    ] {
        let error = Store::open(url).expect_err(url).to_string();
        assert!(error.contains(hint) && error.contains(url), "{url}: {error}");
    }
}

#[test]
fn a_file_in_the_way_is_an_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    std::fs::write(&path, "x").expect("written");
    assert!(Store::open(&format!("file:{}/store", path.display())).is_err());
}

#[test]
fn buckets_are_opened_without_a_connection_and_their_options_are_known() {
    let with = |url: &str, options: &[(&str, &str)]| {
        let options = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned())))
            .collect();
        check(&StoreSettings {
            url: url.to_owned(),
            options,
        })
    };
    let keys = [
        ("access_key_id", "one"),
        ("secret_access_key", "two"),
        ("region", "eu-central-1"),
    ];
    assert!(with("s3://bucket/some/prefix", &keys).is_none());
    let account = [("account_name", "one"), ("account_key", "dHdv")];
    assert!(with("az://container", &account).is_none());
    assert!(with("gs://bucket/prefix", &[("skip_signature", "true")]).is_none());
    let unknown = with("s3://bucket", &[("acces_key", "s3cr3t")])
        .expect("refused")
        .to_string();
    assert!(
        unknown.contains("acces_key") && !unknown.contains("s3cr3t"),
        "{unknown}"
    );
    let local = with("file:data", &[("region", "x")])
        .expect("refused")
        .to_string();
    assert!(local.contains("no option \"region\""), "{local}");
}
