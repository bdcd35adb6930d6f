//! Where the log is written: one line for each event, whatever words of others are in it.

use std::io::{self, Write};

/// Standard error, one line for each event. The subscriber writes an event whole; whatever cannot be seen in it, but for its own end, is
/// escaped, so that nobody's answer makes a second line or moves the cursor of whoever reads.
pub(super) fn lines() -> Lines<io::Stderr> {
    Lines(io::stderr())
}

pub(super) struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = String::with_capacity(text.len() + 1);
        for c in text.trim_end_matches('\n').chars() {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_is_said_in_it() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || Lines(writer.clone())).finish();
        let words = "451 later\r\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J\u{9b}1m\u{2028}\u{85}\t\0\u{7f}Zürich\n";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(error = %words, "shown");
            tracing::warn!(error = words, "as a text");
            tracing::warn!(error = ?words, "as a program writes it");
            tracing::warn!("{words}");
        });
        let bytes = kept.0.lock().expect("nobody panicked").clone();
        let text = String::from_utf8(bytes).expect("it is text");
        assert_eq!(text.lines().count(), 4, "{text}");
        for line in text.lines() {
            assert!(line.contains(" WARN ") && line.contains("forged") && line.contains("Zürich"), "{line}");
            assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}'), "{line:?}");
        }
    }
}
