//! The figures as a picture.

use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

const SIZE: (u32, u32) = (960, 420);
const PALETTE: [RGBColor; 5] = [
    RGBColor(90, 90, 90),
    RGBColor(46, 125, 50),
    RGBColor(21, 101, 192),
    RGBColor(239, 108, 0),
    RGBColor(106, 27, 154),
];

/// Two charts of bars: CPU an event in the closed loop, and p99 at half of its load; logarithmic, since a batch's event
/// costs a tenth of a post.
pub fn draw(figures: &Value, file: &Path) {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE).expect("the file can be written");
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    bars(
        &left,
        figures,
        "closed",
        "cpu_us_per_event",
        "CPU µs an event, closed loop",
    );
    bars(
        &right,
        figures,
        "open, half",
        "p99_ms",
        "p99 in ms, open loop at half load",
    );
    root.present().expect("the file can be written");
}

fn bars<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    figures: &Value,
    how: &str,
    key: &str,
    title: &str,
) where
    B::ErrorType: 'static,
{
    let rows: Vec<(String, String, f64)> = figures
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["loop"] == how)
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            (text("shape"), text("path"), row[key].as_f64().unwrap_or_default())
        })
        .collect();
    let most = rows.iter().map(|row| row.2).fold(1.0, f64::max) * 1.6;
    let least = rows.iter().map(|row| row.2).fold(most, f64::min) / 2.0;
    let mut paths: Vec<&String> = rows.iter().map(|row| &row.1).collect();
    paths.sort();
    paths.dedup();
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(20)
        .y_label_area_size(45)
        .build_cartesian_2d(0.0..rows.len() as f64, (least.max(0.01)..most).log_scale())
        .expect("a chart has room");
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_label_formatter(&|value| format!("{value:.1}"))
        .draw()
        .expect("the axes are drawn");
    for (index, (shape, path, value)) in rows.iter().enumerate() {
        let colour =
            PALETTE[paths.iter().position(|known| *known == path).unwrap_or_default() % PALETTE.len()];
        let (from, to) = (index as f64 + 0.1, index as f64 + 0.9);
        let bar = Rectangle::new([(from, least.max(0.01)), (to, *value)], colour.filled());
        let drawn = chart.draw_series([bar]).expect("a bar is drawn");
        if rows.iter().position(|row| row.1 == *path) == Some(index) {
            drawn
                .label(path.as_str())
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
        }
        let label = format!("{value:.1}");
        let small = ("sans-serif", 12).into_font();
        chart
            .draw_series([Text::new(label, (from, *value * 1.15), small.clone())])
            .expect("a label is drawn");
        chart
            .draw_series([Text::new(
                shape.clone(),
                (from, least.max(0.01) * 1.05),
                small.color(&WHITE),
            )])
            .expect("a label is drawn");
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()
        .expect("the legend is drawn");
}
