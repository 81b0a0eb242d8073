//! Amounts as Kubernetes writes them: `50m`, `256Mi`, `1e9`.

/// Suffixes of powers of two and ten; none is one.
const SUFFIXES: [(&str, f64); 15] = [
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("", 1.0),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
];

/// The amount, if it is one and more than nothing.
pub fn amount(text: &str) -> Option<f64> {
    let is_mark = |c: char| c.is_ascii_digit() || c == '.';
    let (number, suffix) = text.split_at(text.find(|c| !is_mark(c)).unwrap_or(text.len()));
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 || digits > 18 {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let factor = match SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        Some((_, factor)) => *factor,
        None => 10_f64.powi(exponent(suffix)?),
    };
    Some(number * factor).filter(|amount| *amount > 0.0)
}

/// `e9`, `E+9`; `E` alone is ten to the eighteenth.
fn exponent(suffix: &str) -> Option<i32> {
    let digits = suffix.strip_prefix(['e', 'E'])?;
    match digits {
        "" => suffix.starts_with('E').then_some(18),
        _ => digits.parse().ok().filter(|power| (-18..=18).contains(power)),
    }
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        for (text, wanted) in [
            ("50m", Some(0.05)),
            ("1", Some(1.0)),
            ("1.5", Some(1.5)),
            (".5", Some(0.5)),
            ("64Mi", Some(67_108_864.0)),
            ("1k", Some(1000.0)),
            ("1E", Some(1e18)),
            ("1e3", Some(1000.0)),
            ("1E+3", Some(1000.0)),
            ("0", None),
            ("-1", None),
            ("1K", None),
            ("1 Gi", None),
            ("1.2.3", None),
            ("", None),
            ("Mi", None),
            ("1e99", None),
            ("1GiB", None),
            ("lots", None),
            ("١", None),
        ] {
            assert_eq!(amount(text), wanted, "{text}");
        }
    }
}
