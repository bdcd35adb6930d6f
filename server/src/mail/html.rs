//! The HTML of a mail, made from its text, so that a mail needs no second template and both say the same.
//!
//! Paragraphs stand between empty lines; lines behind `> ` are a person's words, quoted; behind `- ` they are a list; behind four spaces
//! a code. A line that ends with an address of the portal becomes a button, named by what stands before the address. Other addresses
//! stay text, so that nobody can put a button of theirs into a mail of ours. Nothing is fetched: no images, no fonts, no style sheet.

use std::fmt::Write as _;

/// A longer name stays a sentence, with the address behind it.
const BUTTON_CHARS_MAX: usize = 64;
/// Colours for readers in the dark; what stands inline is for the light, because many mail programs take nothing else.
const DARK: &str = "@media (prefers-color-scheme: dark) { .page { background: #0b181d !important; } .sheet { background: #12242b !important; \
     border-color: #263d46 !important; } .ink { color: #e5eeee !important; } .muted { color: #a2b6bb !important; } \
     .water { color: #79cfe2 !important; } .button { background: #79cfe2 !important; color: #04222b !important; } \
     .quote { border-color: #6d868e !important; } .code { background: #081216 !important; } }";
const FONT: &str = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif";

/// The mail as HTML. `home`: the portal's address without a path; `footer`: the lines under the mail, made like its text.
pub(super) fn html(subject: &str, text: &str, footer: &str, home: &str) -> String {
    let mut body = String::new();
    for block in blocks(text) {
        block.write(&mut body, subject, home);
    }
    let mut small = String::new();
    for line in footer.lines().filter(|line| !line.is_empty()) {
        let _ = match address_of(line, home) {
            Some((name, address)) => write!(small, "{} {}<br>", escaped(name), linked(address, address)),
            None => write!(small, "{}<br>", escaped(line)),
        };
    }
    let subject = escaped(subject);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"supported-color-schemes\" content=\"light dark\">\n<title>{subject}</title>\n\
         <style>:root {{ color-scheme: light dark; }} {DARK}</style>\n</head>\n\
         <body class=\"page\" style=\"margin:0;padding:0;background:#f3f5f4\">\n\
         <div class=\"page\" style=\"padding:24px 12px;background:#f3f5f4;{FONT}\">\n\
         <div class=\"sheet ink\" style=\"max-width:560px;margin:0 auto;padding:12px 28px 20px;background:#ffffff;border:1px solid #d2dbda;\
         border-radius:10px;color:#10262c;font-size:16px;line-height:1.55;overflow-wrap:anywhere\">\n{body}</div>\n\
         <p class=\"muted\" style=\"max-width:560px;margin:14px auto 0;padding:0 28px;color:#4a6068;font-size:13px;line-height:1.5;\
         overflow-wrap:anywhere\">{small}</p>\n</div>\n</body>\n</html>\n"
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Quote,
    List,
    Code,
}

/// Lines that belong together, without what marked them.
#[derive(Debug)]
struct Block<'a> {
    kind: Kind,
    lines: Vec<&'a str>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut is_begun = false;
    for line in text.lines() {
        let (kind, line) = match line {
            ">" => (Kind::Quote, ""),
            _ if line.trim().is_empty() => {
                is_begun = false;
                continue;
            }
            _ => marked(line),
        };
        match blocks.last_mut().filter(|last| is_begun && last.kind == kind) {
            Some(last) => last.lines.push(line),
            None => blocks.push(Block { kind, lines: vec![line] }),
        }
        is_begun = true;
    }
    blocks
}

fn marked(line: &str) -> (Kind, &str) {
    let marks = [("> ", Kind::Quote), ("- ", Kind::List), ("    ", Kind::Code)];
    marks.iter().find_map(|(mark, kind)| Some((*kind, line.strip_prefix(mark)?))).unwrap_or((Kind::Text, line))
}

impl Block<'_> {
    fn write(&self, html: &mut String, subject: &str, home: &str) {
        let lines = || self.lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("<br>\n");
        let _ = match self.kind {
            Kind::Text => return self.write_text(html, subject, home),
            Kind::Quote => writeln!(
                html,
                "<blockquote class=\"quote\" style=\"margin:16px 0;padding:2px 0 2px 14px;border-left:4px solid #73878c\">{}</blockquote>",
                lines()
            ),
            Kind::List => {
                let items = self.lines.iter().map(|line| match address_of(line, home) {
                    Some((name, address)) if !name.is_empty() => format!("<li style=\"margin:4px 0\">{}</li>\n", linked(address, name)),
                    _ => format!("<li style=\"margin:4px 0\">{}</li>\n", escaped(line)),
                });
                writeln!(html, "<ul style=\"margin:16px 0;padding-left:22px\">\n{}</ul>", items.collect::<String>())
            }
            Kind::Code => writeln!(
                html,
                "<p class=\"code\" style=\"margin:16px 0;padding:8px 12px;border-radius:6px;background:#e8edec;\
                 font-family:ui-monospace,Menlo,Consolas,monospace;font-size:14px;overflow-wrap:anywhere\">{}</p>",
                lines()
            ),
        };
    }

    /// Sentences, and a button for each line that leads somewhere.
    fn write_text(&self, html: &mut String, subject: &str, home: &str) {
        let mut sentences: Vec<String> = Vec::new();
        for line in &self.lines {
            let Some((name, address)) = address_of(line, home) else {
                sentences.push(escaped(line));
                continue;
            };
            // "What happened. Where to look" is a sentence and a button.
            let (before, name) = name.rsplit_once(". ").map_or(("", name), |(before, name)| (before, name));
            if !before.is_empty() {
                sentences.push(format!("{}.", escaped(before)));
            }
            if name.chars().count() > BUTTON_CHARS_MAX {
                sentences.push(format!("{}: {}", escaped(name), linked(address, address)));
                continue;
            }
            write_paragraph(html, &mut sentences);
            write_button(html, if name.is_empty() { subject } else { name }, address);
        }
        write_paragraph(html, &mut sentences);
    }
}

fn write_paragraph(html: &mut String, sentences: &mut Vec<String>) {
    if !sentences.is_empty() {
        let _ = writeln!(html, "<p style=\"margin:16px 0\">{}</p>", sentences.join("<br>\n"));
        sentences.clear();
    }
}

/// The button, and under it the address in letters: where a button leads should be seen, and can be copied.
fn write_button(html: &mut String, name: &str, address: &str) {
    let mut letters = name.chars();
    let name: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    let _ = writeln!(
        html,
        "<p style=\"margin:20px 0 16px\"><a class=\"button\" href=\"{address}\" style=\"display:inline-block;padding:10px 18px;border-radius:6px;\
         background:#0a5a70;color:#ffffff;font-weight:600;text-decoration:none\">{}</a><br>\n\
         <span class=\"muted\" style=\"display:inline-block;margin-top:8px;color:#4a6068;font-size:13px;overflow-wrap:anywhere\">{address}</span></p>",
        escaped(&name),
        address = escaped(address),
    );
}

fn linked(address: &str, name: &str) -> String {
    format!("<a class=\"water\" href=\"{}\" style=\"color:#0a5a70\">{}</a>", escaped(address), escaped(name))
}

/// What a line says before the address of the portal that it ends with, without the colon.
fn address_of<'a>(line: &'a str, home: &str) -> Option<(&'a str, &'a str)> {
    let line = line.trim();
    let (name, address) = line.rsplit_once(' ').unwrap_or(("", line));
    let path = address.strip_prefix(home)?;
    (path.is_empty() || path.starts_with('/')).then(|| (name.trim_end().trim_end_matches(':'), address))
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter if letter.is_control() && letter != '\t' => safe.push(char::REPLACEMENT_CHARACTER),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "https://weights.example.org";

    fn of(text: &str) -> String {
        html("Your application was declined", text, "", HOME)
    }

    #[test]
    fn a_line_that_leads_into_the_portal_is_a_button_named_by_its_words() {
        let made =
            of("Hello Ada,\n\nit is declined. Your application, to copy from: https://weights.example.org/applications/app_1?a=1&b=2\n");
        assert!(made.contains(">Hello Ada,</p>") && made.contains(">it is declined.</p>"), "{made}");
        assert!(made.contains("href=\"https://weights.example.org/applications/app_1?a=1&amp;b=2\""), "{made}");
        assert!(made.contains(">Your application, to copy from</a>"), "{made}");
        assert!(
            of("https://weights.example.org/verify?key=k").contains(">Your application was declined</a>"),
            "without words, the subject's"
        );
        let two = of("Sign in: https://weights.example.org/sign-in\nanother way: https://weights.example.org/forgot");
        assert!(two.contains(">Sign in</a>") && two.contains(">Another way</a>"), "{two}");
        let long = of(&format!("{} see: {HOME}/x", "words ".repeat(12)));
        assert!(!long.contains("class=\"button\"") && long.contains("href=\"https://weights.example.org/x\""), "{long}");
    }

    #[test]
    fn an_address_of_somebody_else_is_text() {
        for foreign in [
            "Look here: https://evil.example/",
            "Look here: https://weights.example.org.evil.example/x",
            "> Look here: https://weights.example.org/x",
            "Look here: javascript:alert(1)",
        ] {
            assert!(!of(foreign).contains("<a "), "{foreign}");
        }
    }

    #[test]
    fn nothing_of_a_person_s_words_is_markup() {
        let made = of(
            "Hello <b>Ada</b> & \"co\",\n\n> <script>alert('1')</script>\n>\n> two\u{7}\n\n- one <i>\n- two: https://weights.example.org/review/app_1\n\n    c0ffee",
        );
        assert!(!made.contains("<b>") && !made.contains("<script") && !made.contains("<i>") && !made.contains('\u{7}'), "{made}");
        assert!(made.contains("Hello &lt;b&gt;Ada&lt;/b&gt; &amp; &quot;co&quot;,"), "{made}");
        assert_eq!(made.matches("<blockquote").count(), 1, "{made}");
        assert_eq!(made.matches("<li").count(), 2, "{made}");
        assert!(made.contains(">two</a></li>") && made.contains(">c0ffee</p>"), "{made}");
        for remote in ["src=", "url(", "@import", "<link"] {
            assert!(!made.contains(remote), "{remote}");
        }
    }
}
