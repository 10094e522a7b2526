//! CPU time an event and latencies, a bar for each path, with the goals.

use std::path::Path;

use plotters::prelude::{ChartBuilder, PathElement, Rectangle, SeriesLabelPosition, Text};
use plotters::style::{Color as _, IntoFont as _, RGBColor};
use serde::Deserialize;

use crate::{Area, BLUE, FONT, Failure, GREY, INK, ORANGE, RED, canvas};

/// What the load benchmark writes, as far as it is drawn.
#[derive(Deserialize)]
pub struct Run {
    event_bytes: usize,
    cores: usize,
    reference: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    load: String,
    path: String,
    median: Measured,
    goal: Option<Goal>,
    rounds: Vec<Measured>,
}

#[derive(Deserialize)]
struct Measured {
    cpu_us_per_event: f64,
    p50_ms: f64,
    p99_ms: f64,
    p99_9_ms: f64,
}

#[derive(Deserialize)]
struct Goal {
    ratio: f64,
    p99_ms: Option<f64>,
}

/// One bar.
struct Bar {
    color: RGBColor,
    value: f64,
    /// Lowest and highest round.
    range: Option<(f64, f64)>,
}

/// Bars that stand together over one name.
struct Group {
    name: String,
    bars: Vec<Bar>,
    goal: Option<f64>,
}

impl Run {
    fn of<'a>(&'a self, load: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.load == load)
    }

    fn reference<'a>(&'a self, load: &'a str) -> Option<&'a Row> {
        // What is compressed is compared with what is not.
        let load = load.strip_suffix(", gzip").unwrap_or(load);
        self.of(load).find(|row| row.path == self.reference)
    }

    fn footer(&self, area: &Area<'_>) -> Result<(), Failure> {
        let (_, height) = area.dim_in_pixel();
        let text = format!(
            "{}-byte events, Kafka acks=all, {} cores; medians, with the range of the rounds; red: goal",
            self.event_bytes, self.cores
        );
        let at = (12, i32::try_from(height)? - 18);
        area.draw(&Text::new(text, at, (FONT, 12).into_font().color(&INK)))?;
        Ok(())
    }
}

pub fn cpu(run: &Run, path: &Path) -> Result<(), Failure> {
    let root = canvas(path, (960, 420))?;
    run.footer(&root)?;
    let (panels, _) = root.split_vertically(395);
    let panels = panels.split_evenly((1, 2));
    let loads: [(&str, &[&str]); 2] = [
        ("single posts", &["single posts"]),
        ("batches of 100", &["batches of 100", "batches of 100, gzip"]),
    ];
    for ((title, loads), panel) in loads.iter().zip(&panels) {
        let rows = loads.iter().flat_map(|load| run.of(load));
        let groups = rows.map(|row| {
            let rounds = row.rounds.iter().map(|round| round.cpu_us_per_event);
            let goal = row.goal.as_ref().zip(run.reference(&row.load));
            let gzip = if row.load.ends_with("gzip") { ", gzip" } else { "" };
            Group {
                name: format!("{}{gzip}", row.path),
                bars: vec![Bar {
                    color: if row.path == run.reference { GREY } else { BLUE },
                    value: row.median.cpu_us_per_event,
                    range: range(rounds),
                }],
                goal: goal.map(|(goal, reference)| goal.ratio * reference.median.cpu_us_per_event),
            }
        });
        let groups: Vec<Group> = groups.collect();
        panel_of(panel, title, "CPU µs an event, server process", &groups, &[])?;
    }
    root.present()?;
    Ok(())
}

pub fn latency(run: &Run, path: &Path) -> Result<(), Failure> {
    let root = canvas(path, (1200, 420))?;
    run.footer(&root)?;
    let (panels, _) = root.split_vertically(395);
    let panels = panels.split_evenly((1, 3));
    let legend = [("p50", GREY), ("p99", BLUE), ("p99.9", ORANGE)];
    let loads = ["single posts at half load", "single posts", "batches of 100"];
    for (load, panel) in loads.iter().zip(&panels) {
        let groups = run.of(load).map(|row| {
            let bar = |(_, color): (&str, RGBColor), read: fn(&Measured) -> f64| Bar {
                color,
                value: read(&row.median),
                range: range(row.rounds.iter().map(read)),
            };
            Group {
                name: row.path.clone(),
                bars: vec![
                    bar(legend[0], |measured| measured.p50_ms),
                    bar(legend[1], |measured| measured.p99_ms),
                    bar(legend[2], |measured| measured.p99_9_ms),
                ],
                goal: row.goal.as_ref().and_then(|goal| goal.p99_ms),
            }
        });
        let groups: Vec<Group> = groups.collect();
        let title = if load.ends_with("half load") {
            (*load).to_owned()
        } else {
            format!("{load}, full load")
        };
        panel_of(
            panel,
            &title,
            "ms, coordinated omission corrected",
            &groups,
            &legend,
        )?;
    }
    root.present()?;
    Ok(())
}

fn range(rounds: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    rounds.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((lowest, highest)) => Some((value.min(lowest), value.max(highest))),
    })
}

/// Part of a group's width that its bars take.
const WIDTH: f64 = 0.7;

fn panel_of(
    area: &Area<'_>,
    title: &str,
    unit: &str,
    groups: &[Group],
    legend: &[(&str, RGBColor)],
) -> Result<(), Failure> {
    let values = groups.iter().flat_map(|group| {
        let highest = |bar: &Bar| bar.range.map_or(bar.value, |(_, highest)| highest);
        group.bars.iter().map(highest).chain(group.goal)
    });
    let most = values.fold(0.0, f64::max).max(0.001) * 1.15;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 17).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..groups.len().max(1) as f64, 0.0..most)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .light_line_style(RGBColor(0xf2, 0xf4, 0xf5))
        .bold_line_style(RGBColor(0xe2, 0xe6, 0xe9))
        .axis_style(INK)
        .y_desc(unit)
        .label_style((FONT, 12).into_font().color(&INK))
        .draw()?;
    for (index, group) in groups.iter().enumerate() {
        let left = index as f64 + (1.0 - WIDTH) / 2.0;
        let width = WIDTH / group.bars.len() as f64;
        for (place, bar) in group.bars.iter().enumerate() {
            let (from, to) = (left + width * place as f64, left + width * (place as f64 + 0.92));
            chart.draw_series([Rectangle::new([(from, 0.0), (to, bar.value)], bar.color.filled())])?;
            if let Some((lowest, highest)) = bar.range {
                let middle = f64::midpoint(from, to);
                chart.draw_series([PathElement::new([(middle, lowest), (middle, highest)], INK)])?;
            }
        }
        if let Some(goal) = group.goal {
            let ends = [(index as f64 + 0.06, goal), (index as f64 + 0.94, goal)];
            chart.draw_series([PathElement::new(ends, RED.stroke_width(2))])?;
        }
        write_name(area, groups.len(), index, &group.name)?;
    }
    for (name, color) in legend {
        let color = *color;
        chart
            .draw_series(std::iter::empty::<Rectangle<(f64, f64)>>())?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], color.filled()));
    }
    if !legend.is_empty() {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .border_style(GREY)
            .background_style(plotters::style::WHITE)
            .label_font((FONT, 12).into_font().color(&INK))
            .draw()?;
    }
    Ok(())
}

/// Under the middle of its group.
fn write_name(area: &Area<'_>, groups: usize, index: usize, name: &str) -> Result<(), Failure> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let (width, height) = area.dim_in_pixel();
    let (left, right) = (12 + 56, i32::try_from(width)? - 12);
    let step = f64::from(right - left) / groups.max(1) as f64;
    let middle = f64::from(left) + step * (index as f64 + 0.5);
    let style = (FONT, 12)
        .into_font()
        .color(&INK)
        .pos(Pos::new(HPos::Center, VPos::Top));
    area.draw(&Text::new(
        name.to_owned(),
        (middle as i32, i32::try_from(height)? - 32),
        style,
    ))?;
    Ok(())
}
