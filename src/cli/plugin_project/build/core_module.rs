//! From the core module that a compiler makes to a component.

use std::{fs, path::Path};

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{Resolve, WorldId};

use super::{Built, keep};
use crate::{
    cli::plugin_project::{ProjectError, io_error, sdk},
    limits::Limits,
    transform,
};

const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// What Go's runtime imports, whatever the plugin does.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Makes the component `NAME.component.wasm` of the core module `NAME.wasm`; a component is left as it is.
pub(super) fn build(path: &Path) -> Result<Built, ProjectError> {
    let bytes = fs::read(path).map_err(io_error(path))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.iter().flat_map(|name| name.split('.')).next();
    let name = name.unwrap_or("plugin").to_owned();
    if bytes.starts_with(COMPONENT) {
        let facts = transform::examine(&bytes, Limits::default().component_bytes)?;
        let path = path.to_owned();
        return Ok(Built { name, path, facts });
    }
    if !bytes.starts_with(CORE_MODULE) {
        return Err(ProjectError::NoCoreModule(path.to_owned()));
    }
    let component = encode(&with_contract(bytes)?, false)?;
    keep(name, path.with_extension("component.wasm"), &component)
}

/// Makes a component of a core module that carries the contract. `for_go` joins the adapter that answers what Go's
/// runtime asks of WASI.
pub(super) fn encode(module: &[u8], for_go: bool) -> Result<Vec<u8>, ProjectError> {
    encode_module(module, for_go).map_err(|error| ProjectError::NoComponent(explain(error)))
}

fn encode_module(module: &[u8], for_go: bool) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .map_err(whole)?;
    if for_go {
        encoder = encoder.adapter(PREVIEW1, &adapter()?).map_err(whole)?;
    }
    encoder.encode().map_err(whole)
}

/// Tells a module which functions of the contract it imports and exports, as `wit-bindgen` does by itself.
pub(super) fn with_contract(mut module: Vec<u8>) -> Result<Vec<u8>, ProjectError> {
    let contract = sdk::contract_of(&module);
    embed(&mut module, contract, "plugin").map_err(ProjectError::NoComponent)?;
    Ok(module)
}

/// The adapter imports nothing of the contract but the host's log.
fn adapter() -> Result<Vec<u8>, String> {
    const WORLD: &str = "\nworld adapter { import host; }\n";
    let mut module = wat::parse_str(sdk::GO_ADAPTER).map_err(whole)?;
    embed(&mut module, &[sdk::CONTRACT_0_2, WORLD].concat(), "adapter")?;
    Ok(module)
}

fn embed(module: &mut Vec<u8>, contract: &str, world: &str) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", contract).map_err(whole)?;
    let world: WorldId = resolve.select_world(&[package], Some(world)).map_err(whole)?;
    wit_component::embed_component_metadata(module, &resolve, world, StringEncoding::UTF8).map_err(whole)
}

/// An error with all that led to it.
fn whole(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}

/// The one fault that authors meet is a core module that wants WASI.
fn explain(error: String) -> String {
    if error.contains(PREVIEW1) {
        format!(
            "the module imports {PREVIEW1}, and a plugin has no WASI. C: leave out what opens files, prints, reads \
             clocks or exits, and build with -mexec-model=reactor. ({error})"
        )
    } else {
        error
    }
}
