//! Fenced blocks of Markdown.

/// The texts of the blocks marked with `language`, in the order in which they stand in `markdown`.
pub fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}");
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for line in markdown.lines() {
        match &mut block {
            Some(_) if line == "```" => found.extend(block.take()),
            Some(text) => *text += &format!("{line}\n"),
            None if line == opening => block = Some(String::new()),
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::blocks;

    #[test]
    fn blocks_of_one_language() {
        let page = "```js\n1\n\n2\n```\ntext\n```python\nx\n```\n```js\n3\n```\n```js\nopen";
        assert_eq!(blocks(page, "js"), ["1\n\n2\n", "3\n"]);
        assert_eq!(blocks(page, "python"), ["x\n"]);
        assert!(blocks(page, "j").is_empty());
    }
}
