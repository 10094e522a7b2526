//! Components that are made to cost their compiler, or their reader, much more than they cost to send.

use std::{path::PathBuf, process::Command};

use bytes::Bytes;
use wasmparser::{Parser, Payload};

use super::{hostile_component, repository};

/// The sections of a component that hold others.
const CORE_MODULE: u8 = 1;
const CORE_INSTANCE: u8 = 2;
const COMPONENT: u8 = 4;

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number == 0 { byte } else { byte | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &leb(content.len())[..], content].concat()
}

/// So many times the same entry, with their number before them.
fn entries(count: usize, entry: &[u8]) -> Vec<u8> {
    [leb(count), entry.repeat(count)].concat()
}

fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0", &sections.concat()[..]].concat()
}

/// A module whose functions all have no arguments, no results and this body, locals before it.
fn functions(count: usize, body: &[u8]) -> Vec<u8> {
    let body = [leb(body.len()), body.to_vec()].concat();
    module(&[
        section(1, &entries(1, &[0x60, 0, 0])),
        section(3, &entries(count, &[0])),
        section(10, &entries(count, &body)),
    ])
}

/// One function with this body.
fn function(body: &[u8]) -> Vec<u8> {
    functions(1, &[&[0], body, &[0x0b]].concat())
}

/// The component with a module more; where it is instantiated, it runs its start function in each instance.
pub fn with_module(component: &[u8], module: &[u8], is_instantiated: bool) -> Bytes {
    let mut bytes = [component, &section(CORE_MODULE, module)].concat();
    if is_instantiated {
        let instantiate = [&[1, 0][..], &leb(count_modules(component)), &[0]].concat();
        bytes.extend(section(CORE_INSTANCE, &instantiate));
    }
    bytes.into()
}

/// The component with code behind it that nobody runs, and that takes seconds to compile: much less than it may.
pub fn slow_to_compile(component: &[u8]) -> Bytes {
    // local.get 0, local.get 0, i32.div_u, local.set 0: what may trap is not left out.
    let step = [0x20, 0, 0x20, 0, 0x6e, 0x21, 0];
    let body = [&[1, 1, 0x7f][..], &step.repeat(200), &[0x0b]].concat();
    with_module(component, &functions(SLOW_FUNCTIONS, &body), false)
}

const SLOW_FUNCTIONS: usize = 5000;

pub fn with_component(component: &[u8], inner: &[u8]) -> Bytes {
    [component, &section(COMPONENT, inner)].concat().into()
}

fn count_modules(component: &[u8]) -> usize {
    let mut depth = 0;
    let mut count = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.expect("the component is whole") {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ModuleSection { .. } if depth == 1 => count += 1,
            _ => {}
        }
    }
    count
}

/// Components in components, each the only content of the one around it.
fn nested(depth: usize) -> Vec<u8> {
    let header = b"\0asm\x0d\0\x01\0";
    let mut sizes = Vec::with_capacity(depth);
    let mut size = header.len();
    for _ in 0..depth {
        sizes.push(size);
        size += header.len() + 1 + leb(size).len();
    }
    let mut bytes = header.to_vec();
    for size in sizes.into_iter().rev() {
        bytes.push(COMPONENT);
        bytes.extend(leb(size));
        bytes.extend_from_slice(header);
    }
    bytes
}

/// Each component holds two instances of the one before: 2 to the power of `levels`.
fn doubling(levels: usize) -> Vec<u8> {
    let mut text = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "configure") (canon lift (core func $i "f")))
        (func (export "transform") (canon lift (core func $i "f")))
        (component $c0 (core module $n) (core instance (instantiate $n)))"#
        .to_owned();
    for level in 1..=levels {
        let before = level - 1;
        text.push_str(&format!(
            "(component $c{level} (instance (instantiate $c{before})) (instance (instantiate $c{before})))"
        ));
    }
    text.push_str(&format!("(instance (instantiate $c{levels})))"));
    wat::parse_str(text).expect("the text is well-formed")
}

/// Record types, each of two of the one before.
fn doubling_types(levels: usize) -> Vec<u8> {
    let mut text = "(component (type $t0 (tuple u8 u8))".to_owned();
    for level in 1..=levels {
        let before = level - 1;
        text.push_str(&format!("(type $t{level} (tuple $t{before} $t{before}))"));
    }
    text.push_str(&format!(
        "(import \"f\" (func (param \"p\" $t{levels}) (result $t{levels}))))"
    ));
    wat::parse_str(text).expect("the text is well-formed")
}

/// A memory of 62 MiB that has a byte at its beginning and one at its end.
fn sparse_memory() -> Vec<u8> {
    let byte_at = |at: usize| [&[0, 0x41][..], &signed_leb(at), &[0x0b, 1, 1]].concat();
    let data = [leb(2), byte_at(0), byte_at((992 << 16) - 1)].concat();
    module(&[section(5, &[&[1, 0][..], &leb(992)].concat()), section(11, &data)])
}

fn signed_leb(number: usize) -> Vec<u8> {
    let mut bytes = leb(number);
    let last = bytes.last_mut().expect("at least one byte");
    // Where its sign bit is set, it would be read as a negative number.
    if *last & 0x40 != 0 {
        *last |= 0x80;
        bytes.push(0);
    }
    bytes
}

/// A chain that no optimization shortens: each value hangs on the one before and on a memory.
fn long_function(instructions: usize) -> Vec<u8> {
    let step = [0x20, 0, 0x28, 2, 0, 0x20, 0, 0x6c, 0x21, 0];
    let body = [&[1, 1, 0x7f][..], &step.repeat(instructions / 5), &[0x0b]].concat();
    module(&[
        section(1, &entries(1, &[0x60, 0, 0])),
        section(3, &entries(1, &[0])),
        section(5, &[1, 0, 1]),
        section(10, &[&[1][..], &leb(body.len()), &body].concat()),
    ])
}

/// What is a bomb, by what it is made of. `scale` 1 is for every day.
#[expect(clippy::too_many_lines, reason = "a table")]
pub fn all(scale: usize) -> Vec<(&'static str, Bytes)> {
    let base = hostile_component();
    let inside = |module: Vec<u8>| with_module(&base, &module, false);
    let blocks = |code: &[u8], depth: usize| function(&[code.repeat(depth), vec![0x0b; depth]].concat());
    let br_table = |targets: usize| {
        // i32.const 0, br_table, all to the function's own block.
        let code = [&[0x41, 0, 0x0e][..], &entries(targets, &[0]), &[0]].concat();
        function(&code)
    };
    // Each run of locals is a count and a type; v128 is the largest.
    let locals = |count: usize, functions_with: usize| {
        functions(functions_with, &[&[1][..], &leb(count), &[0x7b, 0x0b]].concat())
    };
    let imports = |count: usize| {
        let names = (0..count).map(|number| format!("{number:05}"));
        let import = |name: String| [&[1, b'a', 5], name.as_bytes(), &[0, 0]].concat();
        let imports = [leb(count), names.flat_map(import).collect()].concat();
        module(&[section(1, &entries(1, &[0x60, 0, 0])), section(2, &imports)])
    };
    let elements = |count: usize| {
        module(&[
            section(1, &entries(1, &[0x60, 0, 0])),
            section(3, &[1, 0]),
            section(4, &[1, 0x70, 0, 0]),
            section(9, &[&[1, 1, 0][..], &entries(count, &[0])].concat()),
            section(10, &[1, 2, 0, 0x0b]),
        ])
    };
    let segments = |count: usize| {
        module(&[
            section(5, &[1, 0, 1]),
            section(11, &entries(count, &[0, 0x41, 0, 0x0b, 1, 1])),
        ])
    };
    let sparse = |count: usize| {
        let one = section(CORE_MODULE, &sparse_memory());
        Bytes::from([&base[..], &one.repeat(count)].concat())
    };
    let endless_start = module(&[
        section(1, &entries(1, &[0x60, 0, 0])),
        section(3, &[1, 0]),
        section(8, &[0]),
        section(10, &[1, 7, 0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b]),
    ]);
    vec![
        ("nested loops", inside(blocks(&[0x03, 0x40], 40_000 * scale))),
        ("nested blocks", inside(blocks(&[0x02, 0x40], 100_000 * scale))),
        (
            "nested ifs",
            inside(blocks(&[0x41, 1, 0x04, 0x40], 40_000 * scale)),
        ),
        ("a long function", inside(long_function(200_000 * scale))),
        (
            "a function beyond the format's size",
            inside(long_function(5_000_000)),
        ),
        ("many functions", inside(functions(20_000 * scale, &[0, 0x0b]))),
        (
            "many types",
            inside(module(&[section(1, &entries(100_000 * scale, &[0x60, 0, 0]))])),
        ),
        (
            "more types than the format has",
            inside(module(&[section(1, &entries(1_000_001, &[0x60, 0, 0]))])),
        ),
        ("many imports", inside(imports(50_000 * scale))),
        (
            "imports of an instantiated module",
            with_module(&base, &imports(10), true),
        ),
        ("a large br_table", inside(br_table(60_000))),
        ("many locals", inside(locals(49_000, 20 * scale))),
        (
            "more locals than the format has",
            inside(locals(2_000_000_000, 1)),
        ),
        ("large elements", inside(elements(1_000_000 * scale))),
        ("many data segments", inside(segments(50_000 * scale))),
        (
            "large data",
            inside(module(&[section(0, &vec![0; (8 << 20) * scale.min(7)])])),
        ),
        ("sparse memories", sparse(10 * scale)),
        (
            "an endless start function",
            with_module(&base, &endless_start, true),
        ),
        (
            "components in components",
            with_component(&base, &nested(20_000 * scale)),
        ),
        ("instances that double", doubling(24).into()),
        ("types that double", with_component(&base, &doubling_types(40))),
        (
            "counts beyond the bytes",
            inside(module(&[section(1, &leb(u32::MAX as usize))])),
        ),
        (
            "a section beyond the bytes",
            Bytes::from([&base[..], &[1][..], &leb(u32::MAX as usize)[..]].concat()),
        ),
    ]
}

/// Modules and components that a generator made of these seeds.
pub fn generated(first: u64, count: u64) -> Vec<(String, Bytes)> {
    let target = repository().join("target/components");
    let built = Command::new("cargo")
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(repository().join("tests/components/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "tests/components does not build");
    let folder = tempfile::tempdir().expect("a folder");
    let made = Command::new(target.join("release/components"))
        .arg(folder.path())
        .args([first.to_string(), count.to_string()])
        .status()
        .expect("the generator runs");
    assert!(made.success(), "the generator made nothing");
    let base = hostile_component();
    let read = |kind: &str, seed: u64| {
        let path: PathBuf = folder.path().join(format!("{kind}-{seed}.wasm"));
        std::fs::read(path).expect("the generator wrote it")
    };
    (first..first + count)
        .flat_map(|seed| {
            let module = read("module", seed);
            [
                (
                    format!("module {seed}"),
                    with_module(&base, &module, seed % 2 == 0),
                ),
                (
                    format!("component {seed}"),
                    with_component(&base, &read("component", seed)),
                ),
                (format!("component {seed} alone"), read("component", seed).into()),
            ]
        })
        .collect()
}
