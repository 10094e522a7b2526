//! What an upload is, read from its outermost sections before anything is compiled.

use wasmparser::{
    BinaryReaderError, ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload, TypeBounds,
};

use super::ComponentFacts;
use crate::{
    limits::ByteSize,
    problem::{Code, Problem},
    registry::model::Digest,
};

/// The package that alone a plugin may import from.
const PACKAGE: &str = "headworks:plugin/";
/// Versions of it that this gateway speaks.
const PACKAGE_VERSION: &str = "0.1.";
const EXPORTS: [&str; 2] = ["configure", "transform"];
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
            "the upload is a core WebAssembly module, not a component: `headworks plugin build` makes a component of it",
        ));
    }
    surface.check_imports()?;
    for export in EXPORTS {
        if !surface.exports.iter().any(|name| name == export) {
            return Err(invalid(format!(
                "the component does not export `{export}`: a plugin exports `configure` and `transform` of headworks:plugin@0.1.0"
            )));
        }
    }
    Ok(ComponentFacts {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        imports: surface.imports,
    })
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
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(surface)
    }

    fn check_imports(&self) -> Result<(), Problem> {
        let forbidden: Vec<_> = self
            .imports
            .iter()
            .filter(|name| !is_allowed(name))
            .map(|name| name.chars().take(120).collect::<String>())
            .collect();
        if forbidden.is_empty() {
            return Ok(());
        }
        let mut names = forbidden
            .iter()
            .take(NAMES_LISTED)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        if forbidden.len() > NAMES_LISTED {
            names.push_str(&format!(" and {} more", forbidden.len() - NAMES_LISTED));
        }
        let advice = if forbidden.iter().any(|name| name.starts_with("wasi:")) {
            "a plugin has no WASI. Rust: build for wasm32-unknown-unknown, not wasm32-wasip1 or wasm32-wasip2. \
             `headworks plugin build` builds every language so"
        } else if forbidden.iter().any(|name| name.starts_with(PACKAGE)) {
            "this gateway speaks headworks:plugin@0.1: build with an SDK of version 0.1"
        } else {
            "a plugin may import only headworks:plugin"
        };
        Err(Problem::new(
            Code::ComponentImportForbidden,
            format!("the component imports {names}; {advice}"),
        ))
    }
}

fn is_allowed(import: &str) -> bool {
    import
        .strip_prefix(PACKAGE)
        .and_then(|rest| rest.split_once('@'))
        .is_some_and(|(_, version)| version.starts_with(PACKAGE_VERSION))
}
