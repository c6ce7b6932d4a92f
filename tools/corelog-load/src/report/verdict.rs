//! What became of the records, and of each guarantee, on the terminal.

use super::{Check, Guarantee, grouped};

/// The counts of a check, a line each.
pub fn check_table(check: &Check) -> String {
    let again = check.read_again;
    let mut rows: Vec<[String; 3]> = vec![["records".to_owned(), "as delivered".to_owned(), String::new()]];
    let mut row = |label: &str, delivered: u64, read_again: Option<u64>| {
        rows.push([label.to_owned(), grouped(delivered), read_again.map_or_else(String::new, grouped)]);
    };
    row("acknowledged", check.acknowledged, None);
    row("delivered", check.delivered, again.map(|again| again.records));
    row("not acknowledged", check.unacknowledged, None);
    row("lost", check.lost, again.map(|again| again.lost));
    row("duplicated", check.duplicated, again.map(|again| again.duplicated));
    row("reordered", check.reordered, again.map(|again| again.reordered));
    row("corrupted", check.corrupted, again.map(|again| again.corrupted));
    if again.is_some() {
        rows[0][2] = "read again".to_owned();
    }
    let mut out = aligned(&rows);
    out.push_str(&format!(
        "broker kills {}, requests sent again {}, reconnects {}\n",
        check.broker_kills,
        grouped(check.retries),
        grouped(check.reconnects)
    ));
    out
}

/// The guarantees, a line each, and for those that the broker cannot offer why.
pub fn guarantee_table(guarantees: &[Guarantee]) -> String {
    let heads =
        ["mode", "client kills", "broker kills", "sent", "acknowledged", "delivered", "lost", "duplicated", "holds"];
    let mut rows = vec![heads.map(str::to_owned)];
    for guarantee in guarantees {
        let holds = match (&guarantee.refused, guarantee.holds) {
            (Some(_), _) => "refused",
            (None, true) => "yes",
            (None, false) => "NO",
        };
        rows.push([
            guarantee.mode.clone(),
            guarantee.client_kills.to_string(),
            guarantee.broker_kills.to_string(),
            grouped(guarantee.sent),
            grouped(guarantee.acknowledged),
            grouped(guarantee.delivered),
            grouped(guarantee.lost),
            grouped(guarantee.duplicated),
            holds.to_owned(),
        ]);
    }
    let mut out = aligned(&rows);
    for guarantee in guarantees {
        if !guarantee.means.is_empty() {
            out.push_str(&format!("{}: {}\n", guarantee.mode, guarantee.means));
        }
        if let Some(refused) = &guarantee.refused {
            out.push_str(&format!("{}: refused: {refused}\n", guarantee.mode));
        }
    }
    out
}

/// Lines of cells: the first column to the left, the others to the right.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line.push_str(&format!("  {cell:>width$}"));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ReadAgain;

    #[test]
    fn a_check_is_told_with_its_second_reading() {
        let read_again = ReadAgain { records: 1999, lost: 1, ..ReadAgain::default() };
        let check = Check {
            acknowledged: 2000,
            delivered: 2003,
            unacknowledged: 3,
            broker_kills: 5,
            retries: 1234,
            read_again: Some(read_again),
            ..Check::default()
        };
        let text = check_table(&check);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[2], ["delivered", "2,003", "1,999"]);
        assert_eq!(lines[4], ["lost", "0", "1"]);
        assert!(text.ends_with("broker kills 5, requests sent again 1,234, reconnects 0\n"), "{text}");
        assert!(!check_table(&Check::default()).contains("read again"));
    }

    #[test]
    fn a_broken_promise_and_a_refused_one_are_told_apart() {
        let mut guarantee = crate::report::tests::sample().guarantees[0].clone();
        assert!(guarantee_table(std::slice::from_ref(&guarantee)).lines().nth(1).expect("a line").ends_with("yes"));
        guarantee.holds = false;
        assert!(guarantee_table(std::slice::from_ref(&guarantee)).lines().nth(1).expect("a line").ends_with("NO"));
        guarantee.refused = Some("no transactions".to_owned());
        let text = guarantee_table(std::slice::from_ref(&guarantee));
        assert!(text.contains("refused\n") && text.ends_with("at-least-once: refused: no transactions\n"), "{text}");
    }
}
