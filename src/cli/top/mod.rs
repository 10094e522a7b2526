//! `headworks top`: what a gateway does at this moment, read from its admin port alone.

mod sample;
mod screen;
mod table;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::{
    sample::Sample,
    table::{By, Pair},
};
use super::{arguments::TopArguments, client::Client, failure::Failure, output};

/// How long a key may wait to be seen.
const KEY_TIME: Duration = Duration::from_millis(50);

/// What is to be seen.
pub struct Shown {
    url: String,
    by: By,
    sort: usize,
    is_reversed: bool,
    /// Why the gateway is not ready, or cannot be reached.
    unwell: Option<String>,
}

impl Shown {
    fn choose(&mut self, by: By) {
        self.by = by;
        self.sort = 1;
        self.is_reversed = false;
    }

    /// Whether to go on.
    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) -> bool {
        let columns = self.by.columns().len();
        let at = By::ALL.iter().position(|by| *by == self.by).unwrap_or_default();
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Right => self.sort = (self.sort + 1) % columns,
            KeyCode::Left => self.sort = (self.sort + columns - 1) % columns,
            KeyCode::Tab => self.choose(By::ALL[(at + 1) % By::ALL.len()]),
            KeyCode::BackTab => self.choose(By::ALL[(at + By::ALL.len() - 1) % By::ALL.len()]),
            KeyCode::Char(digit) => {
                let index = digit
                    .to_digit(10)
                    .and_then(|digit| usize::try_from(digit).ok()?.checked_sub(1));
                if let Some(by) = index.and_then(|index| By::ALL.get(index)) {
                    self.choose(*by);
                }
            }
            _ => {}
        }
        true
    }
}

pub async fn run(arguments: &TopArguments, client: &Client) -> Result<(), Failure> {
    let interval = Duration::from_secs(arguments.interval_s.get().into());
    let before = Sample::read(&client.metrics().await?);
    if arguments.remote.json || !io::stdout().is_terminal() {
        tokio::time::sleep(interval).await;
        let pair = Pair {
            now: Sample::read(&client.metrics().await?),
            before: Some(before),
        };
        if arguments.remote.json {
            return output::line(&pair.json().to_string());
        }
        return print(&pair);
    }
    let mut shown = Shown {
        url: client.place(),
        by: By::Partner,
        sort: 1,
        is_reversed: false,
        unwell: client.unready().await,
    };
    let mut terminal = ratatui::try_init().map_err(Failure::Output)?;
    let pair = Pair {
        now: before,
        before: None,
    };
    let watched = watch(&mut terminal, client, &mut shown, pair, interval).await;
    ratatui::restore();
    watched
}

async fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    client: &Client,
    shown: &mut Shown,
    mut pair: Pair,
    interval: Duration,
) -> Result<(), Failure> {
    loop {
        terminal
            .draw(|frame| screen::draw(frame, &pair, shown))
            .map_err(Failure::Output)?;
        while pair.now.at.elapsed() < interval {
            if !event::poll(Duration::ZERO).map_err(Failure::Output)? {
                tokio::time::sleep(KEY_TIME).await;
                continue;
            }
            let goes_on = match event::read().map_err(Failure::Output)? {
                Event::Key(key) if key.kind == KeyEventKind::Press => shown.press(key.code, key.modifiers),
                _ => true,
            };
            if !goes_on {
                return Ok(());
            }
            terminal
                .draw(|frame| screen::draw(frame, &pair, shown))
                .map_err(Failure::Output)?;
        }
        match client.metrics().await {
            Ok(text) => {
                shown.unwell = client.unready().await;
                pair = Pair {
                    now: Sample::read(&text),
                    before: Some(pair.now),
                };
            }
            Err(failure) => {
                shown.unwell = Some(failure.to_string());
                // What was read last stays on the screen.
                pair.now.at = std::time::Instant::now();
            }
        }
    }
}

/// All tables once, for where there is no terminal.
fn print(pair: &Pair) -> Result<(), Failure> {
    for by in By::ALL {
        let rows = pair.rows(by, 1, false);
        if !rows.is_empty() {
            let rows = rows
                .iter()
                .map(|row| row.iter().map(table::Cell::text).collect())
                .collect();
            output::table(by.columns(), rows)?;
        }
    }
    Ok(())
}
