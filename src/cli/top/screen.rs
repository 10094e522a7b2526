//! The tables on a terminal.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Paragraph, Row, Table, Tabs},
};

use super::{
    Shown,
    table::{By, Cell, Pair, short, size, time},
};

const KEYS: &str = " Tab or 1–6 table   ← → sort by   r reverse   q quit";

pub fn draw(frame: &mut Frame<'_>, pair: &Pair, shown: &Shown) {
    let [head, tabs, body, foot] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(summary(pair, shown)), head);
    let titles = By::ALL
        .iter()
        .enumerate()
        .map(|(index, by)| format!("{} {}", index + 1, by.title()));
    let at = By::ALL.iter().position(|by| *by == shown.by).unwrap_or_default();
    let chosen = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(
        Tabs::new(titles).select(at).highlight_style(chosen).divider(" "),
        tabs,
    );
    let rows = pair.rows(shown.by, shown.sort, shown.is_reversed);
    let room = usize::from(body.height.saturating_sub(1));
    let hidden = rows.len().saturating_sub(room);
    frame.render_widget(table(&rows, shown), body);
    let more = if hidden > 0 {
        format!("  {hidden} more")
    } else {
        String::new()
    };
    let foot_line = Line::from(vec![KEYS.into(), more.into()]).add_modifier(Modifier::DIM);
    frame.render_widget(foot_line, foot);
}

fn summary<'a>(pair: &Pair, shown: &'a Shown) -> Vec<Line<'a>> {
    const EVENTS: &str = "headworks_events_total";
    const REQUESTS: &str = "http_server_request_duration_seconds_bucket";
    let now = &pair.now;
    let events = pair.rate(EVENTS, |_| true);
    let part = |status: &str| {
        let rate = pair.rate(EVENTS, |series| series.label("status") == status);
        if events > 0.0 {
            format!("{:.1}%", rate / events * 100.0)
        } else {
            "·".to_owned()
        }
    };
    let quantile = |part| {
        pair.quantile(REQUESTS, part, |_| true)
            .map_or("·".to_owned(), time)
    };
    let cpu = pair.rate("process_cpu_time_seconds_total", |_| true) * 100.0;
    let bold = |text: String| Span::from(text).bold();
    let health = match &shown.unwell {
        None => Span::from("ready").green(),
        Some(reason) => Span::from(reason.as_str()).red().bold(),
    };
    let first = vec![
        bold(format!(" {} ", shown.url)),
        health,
        format!(
            "  CPU {cpu:.0}%  memory {}  connections {}",
            size(now.sum("process_memory_usage_bytes", |_| true)),
            short(now.sum("headworks_connections", |_| true))
        )
        .into(),
    ];
    let second = vec![
        bold(format!(" {} events/s", Cell::Rate(events).text())),
        format!(
            "  accepted {}  quarantined {}  rejected {}",
            part("accepted"),
            part("quarantined"),
            part("rejected"),
        )
        .into(),
    ];
    let times = format!(
        " requests take {} (p50), {} (p99), {} (p99.9)",
        quantile(0.5),
        quantile(0.99),
        quantile(0.999)
    );
    let waiting = now.sum("headworks_spool_records", |_| true);
    let lost = now.sum("headworks_destination_records", |series| {
        series.label("state") == "unaccounted"
    });
    let third = vec![
        format!(
            " spools {} records, {} of {}  quarantine {}, oldest {}",
            short(waiting),
            size(now.sum("headworks_spool_size_bytes", |_| true)),
            size(now.sum("headworks_spool_capacity_bytes", |_| true)),
            short(now.sum("headworks_quarantine_events", |_| true)),
            age(now.sum("headworks_quarantine_age_seconds", |_| true))
        )
        .into(),
        if lost > 0.0 {
            Span::from(format!("  UNACCOUNTED {}", short(lost))).red().bold()
        } else {
            "".into()
        },
    ];
    vec![first.into(), second.into(), times.into(), third.into()]
}

fn age(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1.0 => "·".to_owned(),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.0} h", seconds / 3600.0),
        seconds => format!("{:.0} days", seconds / 86_400.0),
    }
}

fn table<'a>(rows: &[Vec<Cell>], shown: &Shown) -> Table<'a> {
    let columns = shown.by.columns();
    let head = columns.iter().enumerate().map(|(index, name)| {
        let arrow = match (index == shown.sort, shown.is_reversed) {
            (false, _) => "",
            (true, false) => "▼",
            (true, true) => "▲",
        };
        aligned(format!("{}{arrow}", heading(name)), index)
    });
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
    let body = rows.iter().map(|row| {
        let is_bad = row.iter().zip(columns).any(|(cell, column)| match cell {
            Cell::Rate(rate) => *rate > 0.0 && matches!(*column, "failed/s" | "trapped/s" | "refused/s"),
            Cell::Text(text) => text == "spooling",
            _ => false,
        });
        let cells = row
            .iter()
            .enumerate()
            .map(|(index, cell)| aligned(cell.text(), index));
        let row = Row::new(cells.collect::<Vec<_>>());
        if is_bad {
            row.style(Style::new().fg(Color::Red))
        } else {
            row
        }
    });
    let widths = columns.iter().enumerate().map(|(index, name)| {
        if index == 0 {
            Constraint::Fill(1)
        } else {
            let width = u16::try_from(heading(name).chars().count() + 1).unwrap_or(u16::MAX);
            // "999.9 MiB" and "999.9 ms" fit.
            Constraint::Length(width.max(if matches!(name, &"bytes/s" | &"spool" | &"memory") {
                9
            } else {
                8
            }))
        }
    });
    Table::new(body.collect::<Vec<_>>(), widths.collect::<Vec<_>>()).header(head)
}

/// The first rate says what the others beside it are.
fn heading(name: &str) -> &str {
    match name {
        "events/s" | "calls/s" | "bytes/s" | "requests/s" => name,
        _ => name.strip_suffix("/s").unwrap_or(name),
    }
}

/// Names to the left, numbers to the right.
fn aligned<'a>(text: String, column: usize) -> Line<'a> {
    let alignment = if column == 0 {
        Alignment::Left
    } else {
        Alignment::Right
    };
    Line::from(text).alignment(alignment)
}
