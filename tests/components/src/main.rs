//! `components FOLDER FIRST COUNT`: writes `module-SEED.wasm` and `component-SEED.wasm` for each seed. The same seed
//! gives the same bytes.

use std::{env, error::Error, fs, path::PathBuf};

use arbitrary::Unstructured;
use wasm_smith::{Component, Config, InstructionKinds, Module};

/// What a generator decides by.
const ENTROPY_BYTES: usize = 48 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: components FOLDER FIRST COUNT");
    let folder = PathBuf::from(next()?);
    let (first, count): (u64, u64) = (next()?.parse()?, next()?.parse()?);
    fs::create_dir_all(&folder)?;
    for seed in first..first + count {
        let entropy = entropy(seed);
        let module = Module::new(config(seed), &mut Unstructured::new(&entropy))?;
        fs::write(folder.join(format!("module-{seed}.wasm")), module.to_bytes())?;
        let component = Component::new(Config::default(), &mut Unstructured::new(&entropy))?;
        fs::write(
            folder.join(format!("component-{seed}.wasm")),
            component.to_bytes(),
        )?;
    }
    Ok(())
}

/// SplitMix64.
fn entropy(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(ENTROPY_BYTES);
    while bytes.len() < ENTROPY_BYTES {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes
}

/// By the seed: with what the gateway's engine does not know, with functions that are invalid, with few or many
/// instructions.
fn config(seed: u64) -> Config {
    Config {
        allow_invalid_funcs: seed % 5 == 4,
        allowed_instructions: InstructionKinds::all(),
        gc_enabled: seed % 8 == 7,
        exceptions_enabled: seed % 8 == 6,
        threads_enabled: seed % 8 == 5,
        reference_types_enabled: seed % 8 == 4,
        memory64_enabled: seed % 8 == 3,
        max_memories: if seed % 2 == 0 { 1 } else { 4 },
        max_imports: if seed % 2 == 0 { 0 } else { 20 },
        max_instructions: if seed % 3 == 2 { 2000 } else { 200 },
        min_funcs: 3,
        max_funcs: 40,
        max_tables: 4,
        generate_custom_sections: true,
        ..Config::default()
    }
}
