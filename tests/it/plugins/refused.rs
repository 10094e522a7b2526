//! Uploads that are no plugins: each is refused with the reason, and harms nobody.

use std::time::{Duration, Instant};

use bytes::Bytes;
use headworks::{
    limits::Limits,
    problem::{Code, Problem},
    transform::examine,
};

use super::{hostile_component, make_transformer, transformer};

fn component(text: &str) -> Bytes {
    wat::parse_str(text).expect("the text is well-formed").into()
}

async fn refusal(upload: Bytes) -> Problem {
    transformer().compile(upload).await.expect_err("it is refused")
}

/// A component that exports two functions of no arguments, made by a core module with this body.
fn with_functions(body: &str) -> String {
    format!(
        r#"(component
            (core module $m (func (export "f") {body}))
            (core instance $i (instantiate $m))
            (func (export "configure") (canon lift (core func $i "f")))
            (func (export "transform") (canon lift (core func $i "f"))))"#
    )
}

#[tokio::test]
async fn a_plugin_is_taken_with_its_facts() {
    let component = hostile_component();
    let facts = transformer().compile(component.clone()).await.expect("a plugin");
    assert_eq!(facts.size, component.len() as u64);
    assert_eq!(facts.digest, headworks::registry::model::Digest::of(&component));
    let expected = ["headworks:plugin/types@0.3.0", "headworks:plugin/host@0.3.0"];
    assert!(
        expected
            .iter()
            .all(|name| facts.imports.iter().any(|found| found == name))
    );
}

#[tokio::test]
async fn imports_of_anything_else_are_refused_by_name() {
    let refused = refusal(component(
        r#"(component
            (import "wasi:io/error@0.2.6" (instance))
            (import "wasi:cli/environment@0.2.6" (instance)))"#,
    ))
    .await;
    assert_eq!(refused.code, Code::ComponentImportForbidden);
    assert_eq!(
        refused.detail,
        "the component imports wasi:io/error@0.2.6 (streams, which come with printing and files), \
         wasi:cli/environment@0.2.6 (the environment's variables and arguments); a plugin has no WASI, the system \
         interface of WebAssembly, because the same event must always give the same records. Run `headworks plugin \
         build` in the plugin's folder: it builds without. By hand, Rust: cargo build --release --target \
         wasm32-unknown-unknown, then a component of it; JavaScript: componentize-qjs --stub-wasi --sync; Python: \
         componentize-py componentize --stub-wasi; Go: go build for wasip1, with the adapter of the SDK; C: zig cc \
         --target=wasm32-wasi -mexec-model=reactor, without printing, files or clocks"
    );
    for (import, advice) in [
        (
            "acme:things/thing@1.0.0",
            "a plugin may import only headworks:plugin",
        ),
        (
            "headworks:plugin/types@0.4.0",
            "speaks headworks:plugin@0.1, @0.2 and @0.3",
        ),
        (
            "headworks:plugins/types@0.1.0",
            "a plugin may import only headworks:plugin",
        ),
    ] {
        let refused = refusal(component(&format!(
            r#"(component (import "{import}" (instance)))"#
        )))
        .await;
        assert_eq!(refused.code, Code::ComponentImportForbidden);
        assert!(
            refused.detail.contains(import) && refused.detail.contains(advice),
            "{}",
            refused.detail
        );
    }
    let many: String = (0..9)
        .map(|n| format!(r#"(import "wasi:x/i{n}@0.2.0" (instance))"#))
        .collect();
    let refused = refusal(component(&format!("(component {many})"))).await;
    assert!(
        refused.detail.contains("wasi:x/i4@0.2.0 and 4 more; "),
        "{}",
        refused.detail
    );
}

/// A module that this compiler made, inside of a component.
fn compiled_by(producer: &str) -> String {
    format!("(core module (@producers {producer}))")
}

#[tokio::test]
async fn whoever_wants_wasi_is_told_how_to_build_without_it_in_the_same_language() {
    let advice = [
        (
            "Rust",
            "Rust: cargo build --release --target wasm32-unknown-unknown, then a component of it",
        ),
        ("JavaScript", "JavaScript: componentize-qjs --stub-wasi --sync"),
        ("Python", "Python: componentize-py componentize --stub-wasi"),
        ("Go", "Go: go build for wasip1, with the adapter of the SDK"),
        (
            "C",
            "C: zig cc --target=wasm32-wasi -mexec-model=reactor, without printing, files or clocks",
        ),
    ];
    let function = r#"(core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "init") (canon lift (core func $i "f")))"#;
    let instance = r#"(instance $e) (export "exports" (instance $e))"#;
    for (language, shows) in [
        (
            "Rust",
            compiled_by(r#"(language "Rust" "") (processed-by "rustc" "1.90.0")"#),
        ),
        (
            "Go",
            compiled_by(r#"(language "Go" "go1.24.1") (processed-by "Go cmd/compile" "go1.24.1")"#),
        ),
        ("Go", compiled_by(r#"(processed-by "TinyGo" "0.39.0")"#)),
        ("C", compiled_by(r#"(processed-by "clang" "20.1.2")"#)),
        // A C library is in what other compilers make.
        (
            "Rust",
            compiled_by(r#"(processed-by "clang" "20.1.2")"#)
                + &compiled_by(r#"(processed-by "rustc" "1.90.0")"#),
        ),
        // Interpreters are C; their components tell by what they export, or say it themselves.
        (
            "JavaScript",
            compiled_by(r#"(processed-by "clang" "20.1.2")"#) + function,
        ),
        (
            "Python",
            compiled_by(r#"(processed-by "clang" "20.1.2")"#) + instance,
        ),
        (
            "JavaScript",
            compiled_by(r#"(processed-by "clang" "20.1.2")"#) + r#"(@producers (language "JavaScript" ""))"#,
        ),
        (
            "Python",
            compiled_by(r#"(processed-by "clang" "20.1.2")"#) + r#"(@producers (language "Python" "3.14"))"#,
        ),
    ] {
        let refused = refusal(component(&format!(
            r#"(component (import "wasi:clocks/wall-clock@0.2.6" (instance)) {shows})"#
        )))
        .await;
        assert_eq!(refused.code, Code::ComponentImportForbidden);
        assert!(
            refused.detail.starts_with(
                "the component imports wasi:clocks/wall-clock@0.2.6 (a clock); a plugin has no WASI"
            ),
            "{}",
            refused.detail
        );
        for (other, words) in advice {
            assert_eq!(
                refused.detail.contains(words),
                other == language,
                "{language}, {other}: {}",
                refused.detail
            );
        }
    }
}

#[test]
fn what_a_component_says_of_its_sdk_is_kept_where_it_is_short_and_plain() {
    let sdk = |name: &str, version: &str| {
        let text = with_functions("").replacen(
            "(component",
            &format!(r#"(component (@producers (sdk "{name}" "{version}"))"#),
            1,
        );
        let facts =
            examine(&component(&text), Limits::default().component_bytes).expect("it has the exports");
        facts.sdk.map(|sdk| (sdk.name, sdk.version))
    };
    assert_eq!(
        sdk("kit", "1.2.3-rc.1"),
        Some(("kit".to_owned(), "1.2.3-rc.1".to_owned()))
    );
    for (name, version) in [
        ("", "1"),
        ("kit", ""),
        ("two words", "1"),
        ("kit", "1\\1b[31m"),
        ("k".repeat(65).as_str(), "1"),
    ] {
        assert_eq!(sdk(name, version), None, "{name:?} {version:?}");
    }
    let inner = with_functions("unreachable").replacen(
        "(core module $m",
        r#"(core module $m (@producers (sdk "inner" "1"))"#,
        1,
    );
    let facts = examine(&component(&inner), Limits::default().component_bytes).expect("it has the exports");
    assert_eq!(
        facts.sdk, None,
        "what a library in it was made with is none of the plugin's"
    );
}

#[tokio::test]
async fn what_is_no_component_is_refused_with_the_reason() {
    let whole = hostile_component();
    let half = whole.slice(..whole.len() / 2);
    let no_transform = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "configure") (canon lift (core func $i "f"))))"#;
    let wrong_kind = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "transform") (canon lift (core func $i "f")))
        (component $c) (export "configure" (component $c)))"#;
    let shared_memory = r#"(component
        (core module $m (memory 1 1 shared) (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "configure") (canon lift (core func $i "f")))
        (func (export "transform") (canon lift (core func $i "f"))))"#;
    let invalid_code = with_functions("i32.const 1");
    for (upload, reason) in [
        (Bytes::new(), "is not WebAssembly"),
        (
            Bytes::from_static(b"#!/bin/sh\necho hello\n"),
            "is not WebAssembly",
        ),
        (
            component("(module)"),
            "is a core WebAssembly module, not a component",
        ),
        (half, "cannot be read: "),
        (whole.slice(..9), "cannot be read: "),
        (
            component("(component)"),
            "does not export `configure` and `transform`: it exports nothing",
        ),
        (
            component(no_transform),
            "does not export `transform`: it exports `configure`",
        ),
        (
            component(wrong_kind),
            "does not export `configure`: it exports `transform`, `configure`",
        ),
        (component(&invalid_code), "does not compile: "),
        (component(shared_memory), "threads must be enabled"),
        (
            component(&with_functions("")),
            "does not keep to headworks:plugin: ",
        ),
    ] {
        let refused = refusal(upload).await;
        assert_eq!(refused.code, Code::ComponentInvalid, "{}", refused.detail);
        assert!(refused.detail.contains(reason), "{}", refused.detail);
    }
}

#[tokio::test]
async fn an_instance_beyond_the_limits_is_refused() {
    let too_much = r#"(component
        (core module $m (memory 2000) (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "configure") (canon lift (core func $i "f")))
        (func (export "transform") (canon lift (core func $i "f"))))"#;
    let refused = refusal(component(too_much)).await;
    assert_eq!(refused.code, Code::ComponentInvalid);
    assert!(refused.detail.contains("memory"), "{}", refused.detail);
}

#[tokio::test]
async fn a_compile_bomb_is_refused_within_its_limits() {
    let depth = 300_000;
    let bomb = component(&with_functions(&("loop ".repeat(depth) + &"end ".repeat(depth))));
    let begun = Instant::now();
    let refused = refusal(bomb).await;
    assert_eq!(refused.code, Code::ComponentTooCostly, "{}", refused.detail);
    assert!(
        refused.detail.contains("10 s of processor time or 512MiB"),
        "{}",
        refused.detail
    );
    assert!(
        begun.elapsed() < Duration::from_secs(201),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn what_compiling_may_cost_grows_with_the_component() {
    let mib = 1 << 20;
    for (bytes, cpu_s) in [
        (0, 10),
        (5 * mib, 10),
        (5 * mib + 1, 12),
        (18 * mib, 36),
        (64 * mib, 60),
        (u64::MAX, 60),
    ] {
        assert_eq!(headworks::limits::compile_cpu_s(bytes), cpu_s, "{bytes}");
    }
}

#[tokio::test]
async fn random_bytes_behind_a_good_beginning_are_refused() {
    let whole = hostile_component();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20 {
        let mut damaged = whole.to_vec();
        for _ in 0..4 {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let position = usize::try_from(seed >> 33).expect("31 bits") % damaged.len();
            damaged[position] ^= 0x55;
        }
        // A change in a name or a constant may pass; nothing may fail otherwise than by a refusal of the upload.
        if let Err(refused) = transformer().compile(damaged.into()).await {
            let codes = [
                Code::ComponentInvalid,
                Code::ComponentTooCostly,
                Code::ComponentImportForbidden,
            ];
            assert!(codes.contains(&refused.code), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_compiled_form_is_found_again_and_made_anew_where_it_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder for the cache");
    let name = "again".parse().expect("a name");
    let compiled = || {
        std::fs::read_dir(folder.path().join("compiled"))
            .expect("the cache is there")
            .map(|entry| entry.expect("it can be read").path())
            .collect::<Vec<_>>()
    };
    for round in ["compiled", "found", "damaged"] {
        if round == "damaged" {
            let path = &compiled()[0];
            let mut bytes = std::fs::read(path).expect("ours");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            std::fs::write(path, bytes).expect("ours");
        }
        let transformer = make_transformer(folder.path(), 50);
        let plugin = transformer
            .prepare(&name, 1, hostile_component(), None)
            .await
            .expect(round);
        assert_eq!(super::only_body(super::call(&plugin, "calls", 0)), "1", "{round}");
        assert_eq!(compiled().len(), 1, "{round}");
    }
}
