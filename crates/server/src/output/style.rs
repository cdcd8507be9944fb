//! Colours and width: what depends on whether a terminal shows it, and which.

use std::io::IsTerminal as _;

use comfy_table::Table;

/// Fewer columns do not hold the line of a webhook with a whole id.
const WIDE_COLUMNS_MIN: u16 = 105;

/// Paints text and shortens ids, or leaves them as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colours: bool,
    wide: bool,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It is under way.
    Busy,
    /// It matters less.
    Quiet,
    /// It matters more.
    Strong,
}

impl Style {
    /// For standard output: colours if it is a terminal and `NO_COLOR` is not set; narrow if it is a
    /// terminal that is.
    pub fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let terminal = std::io::stdout().is_terminal();
        let columns = Table::new().width().filter(|_| terminal);
        Self { colours: wanted && terminal, wide: columns.is_none_or(|columns| columns >= WIDE_COLUMNS_MIN) }
    }

    /// Whether whole ids fit.
    pub fn is_wide(self) -> bool {
        self.wide
    }

    /// `text` in the colour of its meaning.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Busy => "33",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
