//! What the process held over a soak.

use std::path::Path;

use plotters::prelude::{ChartBuilder, LineSeries, Rectangle, Text};
use plotters::style::{Color as _, IntoFont as _, RGBColor};
use serde::Deserialize;

use crate::{Area, BLUE, FONT, Failure, GREY, INK, canvas};

/// What the soak writes.
#[derive(Deserialize)]
pub struct Soak {
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    phase: String,
    after_s: f64,
    resident_mib: f64,
    descriptors: f64,
    threads: f64,
}

type Column = fn(&Sample) -> f64;

const AWAY: &str = "broker away";

pub fn soak(soak: &Soak, path: &Path) -> Result<(), Failure> {
    let root = canvas(path, (960, 640))?;
    let (panels, _) = root.split_vertically(615);
    let columns: [(&str, Column); 3] = [
        ("resident memory, MiB", |sample| sample.resident_mib),
        ("open descriptors", |sample| sample.descriptors),
        ("threads", |sample| sample.threads),
    ];
    for ((name, read), panel) in columns.iter().zip(&panels.split_evenly((3, 1))) {
        draw(panel, name, soak, *read)?;
    }
    let text = "minutes of load; shaded: no broker, and five times the load";
    root.draw(&Text::new(text, (12, 618), (FONT, 12).into_font().color(&INK)))?;
    root.present()?;
    Ok(())
}

fn draw(area: &Area<'_>, name: &str, soak: &Soak, read: Column) -> Result<(), Failure> {
    let minutes = |sample: &Sample| sample.after_s / 60.0;
    let end = soak.samples.last().map_or(1.0, minutes);
    let most = soak.samples.iter().map(read).fold(1.0, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(area)
        .caption(name, (FONT, 15).into_font().color(&INK))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, 0.0..most)?;
    let mut away = soak.samples.iter().filter(|sample| sample.phase == AWAY);
    if let (Some(first), Some(last)) = (away.next(), away.next_back()) {
        let shade = GREY.mix(0.3).filled();
        chart.draw_series([Rectangle::new(
            [(minutes(first), 0.0), (minutes(last), most)],
            shade,
        )])?;
    }
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(RGBColor(0xf2, 0xf4, 0xf5))
        .bold_line_style(RGBColor(0xe2, 0xe6, 0xe9))
        .axis_style(INK)
        .label_style((FONT, 12).into_font().color(&INK))
        .draw()?;
    let points = soak.samples.iter().map(|sample| (minutes(sample), read(sample)));
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    Ok(())
}
