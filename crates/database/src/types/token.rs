//! How publish tokens are listed.

/// Orders of a token list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenSort {
    /// By label.
    #[default]
    Name,
    /// By age.
    AddedOn,
}

/// Which tokens a name finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenFilter {
    /// All of them.
    None,
    /// By label.
    TokenName,
    /// By an exact (not regex) stream name.
    StreamName,
    /// By either.
    #[default]
    TokenOrStreamName,
}
