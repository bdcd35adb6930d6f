//! A model's card: the release's README.md, made safe to show.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::LazyLock;

use askama::filters::HtmlSafe;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// How long the one line about a model may be, in characters.
const SUMMARY_CHARS_MAX: usize = 200;

/// HTML that holds nothing to run and nothing to load from elsewhere. Templates show it as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafeHtml(String);

impl fmt::Display for SafeHtml {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The only way to a value is [`render`], which cleans what it made.
impl HtmlSafe for SafeHtml {}

/// Markdown as HTML for a page: headings one level lower (the page has a title of its own), links without reputation, no
/// images (they would tell other servers who reads), no script, style or form.
pub fn render(markdown: &str) -> SafeHtml {
    let events = Parser::new_ext(body(markdown), Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES);
    let mut made = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut made, events.map(one_level_lower));
    SafeHtml(CLEANER.clean(&made).to_string())
}

/// The first paragraph as plain text, cut at a word.
pub fn summary(markdown: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for event in Parser::new_ext(body(markdown), Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Paragraph) => inside = true,
            Event::End(TagEnd::Paragraph) if !text.trim().is_empty() => break,
            Event::Text(piece) | Event::Code(piece) if inside => text.push_str(&piece),
            Event::SoftBreak | Event::HardBreak if inside => text.push(' '),
            _ => {}
        }
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= SUMMARY_CHARS_MAX {
        return text;
    }
    let cut: String = text.chars().take(SUMMARY_CHARS_MAX - 1).collect();
    format!("{}…", cut.rsplit_once(' ').map_or(cut.as_str(), |(head, _)| head))
}

/// The Markdown after the YAML front matter, which is for programs.
fn body(markdown: &str) -> &str {
    let markdown = markdown.strip_prefix('\u{feff}').unwrap_or(markdown);
    let Some(rest) = markdown.strip_prefix("---\n").or_else(|| markdown.strip_prefix("---\r\n")) else {
        return markdown;
    };
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        end += line.len();
        if line.trim_end() == "---" {
            return &rest[end..];
        }
    }
    markdown
}

fn one_level_lower(event: Event<'_>) -> Event<'_> {
    let lower = |level| match level {
        HeadingLevel::H1 => HeadingLevel::H2,
        HeadingLevel::H2 => HeadingLevel::H3,
        HeadingLevel::H3 => HeadingLevel::H4,
        HeadingLevel::H4 => HeadingLevel::H5,
        HeadingLevel::H5 | HeadingLevel::H6 => HeadingLevel::H6,
    };
    match event {
        Event::Start(Tag::Heading { level, id, classes, attrs }) => Event::Start(Tag::Heading { level: lower(level), id, classes, attrs }),
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(lower(level))),
        other => other,
    }
}

static CLEANER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let tags: HashSet<&str> = [
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "p",
        "br",
        "hr",
        "ul",
        "ol",
        "li",
        "blockquote",
        "pre",
        "code",
        "em",
        "strong",
        "del",
        "sup",
        "sub",
        "a",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "dl",
        "dt",
        "dd",
    ]
    .into();
    let mut cleaner = ammonia::Builder::default();
    cleaner
        .tags(tags)
        .tag_attributes(HashMap::from([("a", HashSet::from(["href"])), ("ol", HashSet::from(["start"]))]))
        .generic_attributes(HashSet::new())
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("nofollow noopener noreferrer"));
    cleaner
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_shown_without_its_front_matter() {
        let html = render("---\nlicense: other\n---\n# OPT\n\nA *model*.\n").to_string();
        assert_eq!(html.replace('\n', ""), "<h2>OPT</h2><p>A <em>model</em>.</p>");
        assert!(render("---\nnot closed").to_string().contains("not closed"));
    }

    #[test]
    fn nothing_of_a_card_runs_or_loads_from_elsewhere() {
        let hostile = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![pixel](https://tracker.example/x.png)",
            "[click](javascript:alert(1))",
            "<a href='data:text/html,x' onclick='x()'>a</a>",
            "<form action=/sign-out method=post><button>a</button></form>",
            "<style>body{display:none}</style>",
            "<iframe src=https://evil.example></iframe>",
            "<p style='position:fixed' class='flash' id='main'>a</p>",
        ];
        for markdown in hostile {
            let html = render(markdown).to_string();
            for forbidden in
                ["script", "onerror", "tracker", "javascript", "data:", "onclick", "<form", "<style", "style=", "<iframe", "class=", "id="]
            {
                assert!(!html.contains(forbidden), "{markdown} became {html}");
            }
        }
        let link = render("[paper](https://arxiv.org/abs/2205.01068)").to_string();
        assert!(link.contains(r#"rel="nofollow noopener noreferrer""#) && link.contains("arxiv.org"), "{link}");
    }

    #[test]
    fn the_summary_is_the_first_paragraph() {
        assert_eq!(summary("---\na: b\n---\n# Title\n\nA `small` model\nfor *tests*.\n\nMore."), "A small model for tests.");
        assert_eq!(summary("# Only a title"), "");
        let long = summary(&"word ".repeat(100));
        assert!(long.chars().count() <= SUMMARY_CHARS_MAX && long.ends_with("word…"), "{long}");
    }
}
