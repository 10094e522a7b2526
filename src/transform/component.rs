//! What an upload is, read from its outermost sections before anything is compiled.

use wasmparser::{
    BinaryReaderError, ComponentExternalKind, ComponentTypeRef, Encoding, KnownCustom, Parser, Payload,
    ProducersSectionReader, TypeBounds,
};

use super::{ComponentFacts, bindings::TRANSFORM_FLAT};
use crate::{
    limits::{self, ByteSize},
    problem::{Code, Problem},
    registry::model::{Digest, Sdk},
};

/// The package that alone a plugin may import from.
const PACKAGE: &str = "headworks:plugin/";
/// Versions of it that this gateway speaks.
const PACKAGE_VERSIONS: [&str; 3] = ["0.1.", "0.2.", "0.3."];
/// Each under one of its names.
const EXPORTS: [&[&str]; 2] = [&["configure"], &["transform", TRANSFORM_FLAT]];
/// Of an SDK's name, and of its version.
const SDK_CHARACTERS: usize = 64;
/// Names that one refusal lists.
const NAMES_LISTED: usize = 5;

/// Checks that `bytes` are a component of the plugin contract, as far as its imports and exports tell.
pub fn examine(bytes: &[u8], size_max: ByteSize) -> Result<ComponentFacts, Problem> {
    if bytes.len() > size_max.as_usize() {
        return Err(Problem::new(
            Code::ComponentTooCostly,
            format!(
                "the component has {} bytes; at most {size_max} are taken (limits.component_bytes)",
                bytes.len()
            ),
        ));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(invalid(
            "the upload is not WebAssembly: send the .wasm file that `headworks plugin build` writes",
        ));
    }
    let surface = Surface::read(bytes).map_err(|error| {
        invalid(format!(
            "the component cannot be read: {} (at byte {})",
            error.message(),
            error.offset()
        ))
    })?;
    if !surface.is_component {
        return Err(invalid(
            "the upload is a core WebAssembly module, not a component, which is such a module with its interface around \
             it: push the plugin's folder, or what `headworks plugin build FOLDER` writes",
        ));
    }
    surface.check_imports()?;
    surface.check_exports()?;
    Ok(ComponentFacts {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        language: surface.language().map(Language::name),
        sdk: surface.sdk,
        imports: surface.imports,
    })
}

/// The custom section in which a component may bring the JSON Schema of its configuration.
pub const CONFIG_SCHEMA: &str = "config.schema.json";

/// The JSON Schema of the component's configuration, where it brings one.
pub fn config_schema(bytes: &[u8]) -> Result<Option<String>, Problem> {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload =
            payload.map_err(|error| invalid(format!("the component cannot be read: {}", error.message())))?;
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 1 && section.name() == CONFIG_SCHEMA => {
                if section.data().len() > limits::CONFIG_SCHEMA_BYTES {
                    return Err(invalid(format!(
                        "the configuration schema has {} bytes; at most {} are taken",
                        section.data().len(),
                        ByteSize(limits::CONFIG_SCHEMA_BYTES as u64)
                    )));
                }
                let text = std::str::from_utf8(section.data())
                    .map_err(|_| invalid("the configuration schema is not UTF-8"))?;
                return Ok(Some(text.to_owned()));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::ComponentInvalid, detail)
}

#[derive(Default)]
struct Surface {
    is_component: bool,
    imports: Vec<String>,
    /// Functions only.
    exports: Vec<String>,
    /// Of interfaces, with the world's own functions: what it was built for.
    other_exports: Vec<String>,
    language: Option<Language>,
    /// What its own section names, and not those of the modules in it.
    declared: Option<Language>,
    sdk: Option<Sdk>,
}

/// What a component was made with, as its tools wrote it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Rust,
    Js,
    Python,
    Go,
    C,
}

impl Language {
    const ALL: [Language; 5] = [
        Language::Rust,
        Language::Js,
        Language::Python,
        Language::Go,
        Language::C,
    ];

    fn name(self) -> &'static str {
        match self {
            Language::Rust => "Rust",
            Language::Js => "JavaScript",
            Language::Python => "Python",
            Language::Go => "Go",
            Language::C => "C",
        }
    }

    /// What builds without WASI.
    fn build_without_wasi(self) -> &'static str {
        match self {
            Language::Rust => {
                "Rust: cargo build --release --target wasm32-unknown-unknown, then a component of it"
            }
            Language::Js => "JavaScript: componentize-qjs --stub-wasi --sync",
            Language::Python => "Python: componentize-py componentize --stub-wasi",
            Language::Go => "Go: go build for wasip1, with the adapter of the SDK",
            Language::C => {
                "C: zig cc --target=wasm32-wasi -mexec-model=reactor, without printing, files or clocks"
            }
        }
    }

    /// From the field `language` of a component's own `producers` section.
    fn declared(name: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|language| language.name() == name)
    }

    /// From any value of a `producers` section. What interpreters run is not told there.
    fn of(value: &str) -> Option<Language> {
        let value = value.to_ascii_lowercase();
        let known = [
            ("rustc", Language::Rust),
            ("go cmd/compile", Language::Go),
            ("tinygo", Language::Go),
            ("clang", Language::C),
        ];
        known
            .into_iter()
            .find_map(|(name, language)| value.contains(name).then_some(language))
    }
}

/// What an interface of WASI is for.
fn purpose(import: &str) -> Option<&'static str> {
    let interface = import.strip_prefix("wasi:")?;
    let package = interface.split(['/', '@']).next()?;
    Some(match package {
        "cli" if interface.contains("environment") => "the environment's variables and arguments",
        "cli" if interface.contains("exit") => "ending the process",
        "cli" => "printing and reading from the terminal",
        "clocks" => "a clock",
        "filesystem" => "files",
        "http" | "sockets" => "the network",
        "random" => "randomness",
        "io" => "streams, which come with printing and files",
        _ => return None,
    })
}

impl Surface {
    fn read(bytes: &[u8]) -> Result<Surface, BinaryReaderError> {
        let mut surface = Surface::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding, .. } => {
                    if depth == 0 {
                        surface.is_component = encoding == Encoding::Component;
                    }
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        let import = import?;
                        // The world's own names for types of its interfaces: nothing that anybody would provide.
                        if !matches!(import.ty, ComponentTypeRef::Type(TypeBounds::Eq(_))) {
                            surface.imports.push(import.name.name.to_owned());
                        }
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        let export = export?;
                        if export.kind == ComponentExternalKind::Func {
                            surface.exports.push(export.name.name.to_owned());
                        } else {
                            surface.other_exports.push(export.name.name.to_owned());
                        }
                    }
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Producers(fields) = section.as_known() {
                        surface.note_producers(fields, depth == 1);
                    }
                }
                _ => {}
            }
        }
        Ok(surface)
    }

    /// What cannot be read of it tells nothing, and harms nobody.
    fn note_producers(&mut self, fields: ProducersSectionReader<'_>, is_own: bool) {
        for field in fields.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                match field.name {
                    "language" if is_own => self.declared = self.declared.or(Language::declared(value.name)),
                    "sdk" if is_own => self.sdk = sdk(value.name, value.version).or(self.sdk.take()),
                    _ => {}
                }
                let language = Language::of(value.name);
                // A C library is in most of them.
                if language.is_some() && matches!(self.language, None | Some(Language::C)) {
                    self.language = language;
                }
            }
        }
    }

    fn check_exports(&self) -> Result<(), Problem> {
        let missing: Vec<_> = EXPORTS
            .iter()
            .filter(|names| !self.exports.iter().any(|name| names.contains(&name.as_str())))
            .filter_map(|names| names.first())
            .map(|export| format!("`{export}`"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let found = self.exports.iter().chain(&self.other_exports);
        let found = listed(found.map(|name| format!("`{}`", shortened(name))).collect());
        let found = if found.is_empty() { "nothing" } else { &found };
        Err(invalid(format!(
            "the component does not export {}: it exports {found}. A plugin is built for the world `plugin` of \
             headworks:plugin, as `headworks plugin build` does, and exports `configure` and `transform`",
            missing.join(" and ")
        )))
    }

    fn check_imports(&self) -> Result<(), Problem> {
        let forbidden: Vec<_> = self.imports.iter().filter(|name| !is_allowed(name)).collect();
        if forbidden.is_empty() {
            return Ok(());
        }
        let named = |name: &&String| match purpose(name) {
            Some(purpose) => format!("{} ({purpose})", shortened(name)),
            None => shortened(name),
        };
        let names = listed(forbidden.iter().map(named).collect());
        let advice = if forbidden.iter().any(|name| name.starts_with("wasi:")) {
            self.advice_against_wasi()
        } else if forbidden.iter().any(|name| name.starts_with(PACKAGE)) {
            "this gateway speaks headworks:plugin@0.1, @0.2 and @0.3: build with an SDK for one of them"
                .to_owned()
        } else {
            "a plugin may import only headworks:plugin".to_owned()
        };
        Err(Problem::new(
            Code::ComponentImportForbidden,
            format!("the component imports {names}; {advice}"),
        ))
    }

    /// Interpreters are told by what they export beside the contract.
    fn language(&self) -> Option<Language> {
        if self.exports.iter().any(|name| name == "init") {
            Some(Language::Js)
        } else if self.other_exports.iter().any(|name| name == "exports") {
            Some(Language::Python)
        } else {
            self.declared.or(self.language)
        }
    }

    fn advice_against_wasi(&self) -> String {
        let found = self.language();
        let by_hand: Vec<_> = Language::ALL
            .into_iter()
            .filter(|language| found.is_none_or(|known| known == *language))
            .map(Language::build_without_wasi)
            .collect();
        format!(
            "a plugin has no WASI, the system interface of WebAssembly, because the same event must always give the \
             same records. Run `headworks plugin build` in the plugin's folder: it builds without. By hand, {}",
            by_hand.join("; ")
        )
    }
}

/// What a stranger wrote is kept where it is short and plain.
fn sdk(name: &str, version: &str) -> Option<Sdk> {
    let is_plain = |text: &str| {
        (1..=SDK_CHARACTERS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    (is_plain(name) && is_plain(version)).then(|| Sdk {
        name: name.to_owned(),
        version: version.to_owned(),
    })
}

/// A name that a stranger chose.
fn shortened(name: &str) -> String {
    name.chars().take(120).collect()
}

/// The first names of many.
fn listed(names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMES_LISTED);
    let mut text = names
        .into_iter()
        .take(NAMES_LISTED)
        .collect::<Vec<_>>()
        .join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn is_allowed(import: &str) -> bool {
    import
        .strip_prefix(PACKAGE)
        .and_then(|rest| rest.split_once('@'))
        .is_some_and(|(_, version)| PACKAGE_VERSIONS.iter().any(|known| version.starts_with(known)))
}
