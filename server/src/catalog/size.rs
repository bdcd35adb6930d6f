//! How large something is, for people.

/// Bytes in decimal units, as disks and the Hub count them: "718 B", "3.9 MB", "13 GB".
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1e3;
    let mut unit = 0;
    // What would be rounded to 1000 is one of the next unit.
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1e3;
        unit += 1;
    }
    if size < 9.95 { format!("{size:.1} {}", UNITS[unit]) } else { format!("{size:.0} {}", UNITS[unit]) }
}

/// How many files, for people: "1 file", "12 files".
pub fn human_files(files: usize) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

#[cfg(test)]
mod tests {
    use super::human_bytes;

    #[test]
    fn sizes_read_well_at_every_border() {
        let said = [0, 999, 1_000, 9_949, 9_950, 999_499, 999_500, 11_849_536, 13_317_000_000, 999_999_999_999, u64::MAX];
        let expected = ["0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "999 kB", "1.0 MB", "12 MB", "13 GB", "1.0 TB", "18 EB"];
        assert_eq!(said.map(human_bytes), expected);
    }
}
