//! Tables without lines, which can be read and cut by programs alike.

use comfy_table::{ContentArrangement, Table, presets};

/// A table with these columns.
pub fn new(columns: &[&str]) -> Table {
    let mut table = plain();
    table.set_header(columns.iter().map(|name| name.to_uppercase()));
    table
}

/// Names at the left, values at the right.
pub fn facts<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> Table {
    let mut table = plain();
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// The table as text: every line ends where its last word ends.
pub fn text(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        // The style without lines still puts a space before the first column.
        let line = line.strip_prefix(' ').unwrap_or(&line);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Text for one cell: from the server and so possibly from a stranger, it may hold no control characters.
pub fn cell(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
