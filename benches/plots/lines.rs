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

/// # Errors
///
/// Where there is nothing to draw: no samples, or none of a phase that the picture is about.
pub fn soak(soak: &Soak, path: &Path) -> Result<(), Failure> {
    let [first, .., last] = soak.samples.as_slice() else {
        return Err("the soak has written fewer than two samples".into());
    };
    if last.after_s <= first.after_s {
        return Err("the soak's samples do not go on in time".into());
    }
    let shaded = Shaded::of(&soak.samples)?;
    let root = canvas(path, (960, 640))?;
    let (panels, _) = root.split_vertically(615);
    let columns: [(&str, Column); 3] = [
        ("resident memory, MiB", |sample| sample.resident_mib),
        ("open descriptors", |sample| sample.descriptors),
        ("threads", |sample| sample.threads),
    ];
    for ((name, read), panel) in columns.iter().zip(&panels.split_evenly((3, 1))) {
        draw(panel, name, soak, &shaded, *read)?;
    }
    let text = "minutes of load; shaded: no broker, and five times the load";
    root.draw(&Text::new(text, (12, 618), (FONT, 12).into_font().color(&INK)))?;
    root.present()?;
    Ok(())
}

/// The minutes without a broker.
struct Shaded {
    begin: f64,
    end: f64,
}

impl Shaded {
    fn of(samples: &[Sample]) -> Result<Shaded, Failure> {
        let mut away = samples.iter().filter(|sample| sample.phase == AWAY);
        let first = away
            .next()
            .ok_or_else(|| format!("the soak has written no sample of its phase {AWAY:?}"))?;
        Ok(Shaded {
            begin: minutes(first),
            end: minutes(away.next_back().unwrap_or(first)),
        })
    }
}

fn minutes(sample: &Sample) -> f64 {
    sample.after_s / 60.0
}

fn draw(area: &Area<'_>, name: &str, soak: &Soak, shaded: &Shaded, read: Column) -> Result<(), Failure> {
    let end = soak.samples.last().map_or(1.0, minutes);
    let most = soak.samples.iter().map(read).fold(1.0, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(area)
        .caption(name, (FONT, 15).into_font().color(&INK))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, 0.0..most)?;
    let corners = [(shaded.begin, 0.0), (shaded.end, most)];
    chart.draw_series([Rectangle::new(corners, GREY.mix(0.3).filled())])?;
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
