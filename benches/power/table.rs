//! Aligned columns.

/// Rows under a title.
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    pub fn new(title: &str, head: &[&str]) -> Table {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        Table { title: title.to_owned(), rows: vec![head] }
    }

    /// More columns.
    pub fn columns(&mut self, names: impl IntoIterator<Item = String>) {
        if let Some(head) = self.rows.first_mut() {
            head.extend(names);
        }
    }

    /// One more row.
    pub fn row(&mut self, name: String, cells: impl IntoIterator<Item = String>) {
        self.rows.push(std::iter::once(name).chain(cells).collect());
    }

    /// Prints it, with whether what it must show holds.
    pub fn print(&self, held: bool) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        println!("\n{}: {}", self.title, if held { "as it must be" } else { "TOO MUCH" });
        for row in &self.rows {
            let cells =
                row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                });
            println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
}
