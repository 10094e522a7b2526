//! Draws what the load benchmark and the soak have written as JSON, as SVG.
//!
//! `cargo bench --profile dev --bench plots -- [--figures FOLDER] [--images FOLDER]`

mod bars;
mod lines;

use std::path::{Path, PathBuf};

use clap::Parser;
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, IntoDrawingArea as _, RGBColor, SVGBackend, WHITE},
};
use serde::de::DeserializeOwned;

#[derive(Parser)]
struct Arguments {
    /// Where `load.json` and `soak.json` are.
    #[arg(long, default_value = "target/figures")]
    figures: PathBuf,
    /// Where the pictures go.
    #[arg(long, default_value = "docs/images")]
    images: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

type Failure = Box<dyn std::error::Error>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x3d, 0x47);
const BLUE: RGBColor = RGBColor(0x3b, 0x6e, 0xa8);
const ORANGE: RGBColor = RGBColor(0xd9, 0x7a, 0x2b);
const RED: RGBColor = RGBColor(0xb3, 0x32, 0x32);
const GREY: RGBColor = RGBColor(0xa9, 0xb1, 0xb8);

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.images)?;
    let image = |name: &str| arguments.images.join(name);
    let mut drawn = 0;
    if let Some(run) = read::<bars::Run>(&arguments.figures.join("load.json"))? {
        bars::cpu(&run, &image("cpu-per-event.svg"))?;
        bars::latency(&run, &image("latency.svg"))?;
        drawn += 2;
    }
    if let Some(soak) = read::<lines::Soak>(&arguments.figures.join("soak.json"))? {
        lines::soak(&soak, &image("soak.svg"))?;
        drawn += 1;
    }
    if drawn == 0 {
        return Err(format!(
            "nothing to draw in {}: make bench-load and make soak write there",
            arguments.figures.display()
        )
        .into());
    }
    println!("{drawn} pictures in {}", arguments.images.display());
    Ok(())
}

/// None where there is no such file.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("{} is not there", path.display());
        return Ok(None);
    };
    let read = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(read))
}

/// An empty picture.
fn canvas(path: &Path, size: (u32, u32)) -> Result<Area<'_>, Failure> {
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}
