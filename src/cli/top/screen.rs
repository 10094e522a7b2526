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
    frame.render_widget(table(&rows, shown, usize::from(body.width)), body);
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

/// Columns that give way, the first first, where a terminal is too narrow for the names beside them.
const GIVE_WAY: [&str; 4] = ["bytes/s", "spool", "memory", "p50"];
/// Longer names are shortened before a column gives way.
const NAME_WHOLE: usize = 40;
const SPACING: usize = 1;

/// Which columns are shown on so many of the terminal's, and how wide the first of them is.
fn fit(rows: &[Vec<Cell>], shown: &Shown, width: usize) -> (Vec<usize>, usize) {
    let columns = shown.by.columns();
    let names = rows.iter().filter_map(|row| row.first());
    let longest = names.map(|name| name.text().chars().count());
    let longest = longest
        .max()
        .unwrap_or_default()
        .max(heading(columns[0]).chars().count() + 1);
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let room = |kept: &[usize]| {
        let others = kept
            .iter()
            .skip(1)
            .map(|index| column_width(columns[*index]) + SPACING);
        width.saturating_sub(others.sum())
    };
    for name in GIVE_WAY {
        if room(&kept) >= longest.min(NAME_WHOLE) {
            break;
        }
        kept.retain(|index| columns[*index] != name || *index == shown.sort);
    }
    let room = room(&kept);
    (kept, longest.min(room))
}

/// "999.9 MiB" and "999.9 ms" fit.
fn column_width(name: &str) -> usize {
    let least = if matches!(name, "bytes/s" | "spool" | "memory") {
        9
    } else {
        8
    };
    least.max(heading(name).chars().count() + 1)
}

/// What tells names apart is mostly at their ends: the middle is left out.
fn shortened(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width || width < 3 {
        return name.to_owned();
    }
    let end = (width - 1) / 2;
    let begin = width - 1 - end;
    name.chars()
        .take(begin)
        .chain(['…'])
        .chain(name.chars().skip(length - end))
        .collect()
}

fn table<'a>(rows: &[Vec<Cell>], shown: &Shown, width: usize) -> Table<'a> {
    let columns = shown.by.columns();
    let (kept, name_width) = fit(rows, shown, width);
    let head = kept.iter().map(|index| {
        let arrow = match (*index == shown.sort, shown.is_reversed) {
            (false, _) => "",
            (true, false) => "▼",
            (true, true) => "▲",
        };
        aligned(format!("{}{arrow}", heading(columns[*index])), *index)
    });
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
    let body = rows.iter().map(|row| {
        let is_bad = row.iter().zip(columns).any(|(cell, column)| match cell {
            Cell::Rate(rate) => *rate > 0.0 && matches!(*column, "failed/s" | "trapped/s" | "refused/s"),
            Cell::Text(text) => text == "spooling",
            _ => false,
        });
        let cells = kept.iter().filter_map(|index| {
            let text = row.get(*index)?.text();
            let text = if *index == 0 {
                shortened(&text, name_width)
            } else {
                text
            };
            Some(aligned(text, *index))
        });
        let row = Row::new(cells.collect::<Vec<_>>());
        if is_bad {
            row.style(Style::new().fg(Color::Red))
        } else {
            row
        }
    });
    let widths = kept.iter().map(|index| {
        let width = if *index == 0 {
            name_width
        } else {
            column_width(columns[*index])
        };
        Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX))
    });
    Table::new(body.collect::<Vec<_>>(), widths.collect::<Vec<_>>())
        .header(head)
        .column_spacing(u16::try_from(SPACING).unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::cli::top::sample::Sample;

    /// The screen's lines.
    fn screen(width: u16, by: By, metrics: &str) -> Vec<String> {
        let pair = Pair {
            now: Sample::read(metrics),
            before: None,
        };
        let shown = Shown {
            url: "http://127.0.0.1:8081".to_owned(),
            by,
            sort: 1,
            is_reversed: false,
            unwell: None,
        };
        let mut terminal = Terminal::new(TestBackend::new(width, 24)).expect("memory is a terminal");
        let drawn = terminal
            .draw(|frame| draw(frame, &pair, &shown))
            .expect("it takes a frame");
        let cells: Vec<&str> = drawn
            .buffer
            .content()
            .iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        let lines = cells.chunks(usize::from(width));
        lines.map(|line| line.concat().trim_end().to_owned()).collect()
    }

    fn events(types: &[&str]) -> String {
        let line = |name: &&str| {
            format!(
                "headworks_events_total{{partner=\"p\",type=\"{name}\",since=\"5.10.0\",status=\"accepted\",code=\"\"}} 1\n"
            )
        };
        types.iter().map(line).collect()
    }

    #[test]
    fn columns_give_way_to_names() {
        let metrics = events(&["attribution.postback", "commerce.checkout_started"]);
        let narrow = screen(80, By::Version, &metrics);
        assert!(
            narrow[6].starts_with("attribution.postback@5.10.0 "),
            "{narrow:#?}"
        );
        assert!(
            narrow[7].starts_with("commerce.checkout_started@5.10.0 "),
            "{narrow:#?}"
        );
        assert!(
            !narrow[5].contains("bytes/s") && narrow[5].ends_with("p99"),
            "{narrow:#?}"
        );
        let wide = screen(120, By::Version, &metrics);
        assert!(
            wide[5].contains("bytes/s") && wide[5].contains("p50"),
            "{wide:#?}"
        );
    }

    #[test]
    fn names_too_long_for_the_terminal_keep_their_ends() {
        let long = "a".repeat(190) + ".done";
        let lines = screen(80, By::Version, &events(&[&long]));
        assert!(
            lines[6].contains('…') && lines[6].contains(".done@5.10.0 "),
            "{lines:#?}"
        );
    }

    #[test]
    fn what_there_is_none_of_is_shown_as_nothing() {
        let lines = screen(
            80,
            By::Code,
            "headworks_requests_refused_total{code=\"key-unknown\"} 3\n",
        );
        assert!(lines[6].starts_with("key-unknown"), "{lines:#?}");
        assert!(lines[6].ends_with("3") && !lines[6].contains("-0"), "{lines:#?}");
    }
}
