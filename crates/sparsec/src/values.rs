//! Values on the command line, each with an error that says what would do.

use sparsec_calib::data::ImageOptions;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;

/// Why a value on the command line is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ValueError {
    /// Not of the form that is asked for.
    #[error("expected {wanted}")]
    Form {
        /// What would do.
        wanted: &'static str,
    },
    /// Not within the range.
    #[error("expected {wanted}")]
    Range {
        /// What would do.
        wanted: &'static str,
    },
    /// A key that an option does not have.
    #[error("`{key}` is none of {known}")]
    Key {
        /// What was given.
        key: String,
        /// What there is.
        known: &'static str,
    },
}

/// A number of 0 or more.
fn number(s: &str) -> Option<f64> {
    // Not all that Rust reads as a number is one: `inf`, `nan`, `1e999`.
    let plain = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'-' | b'+'));
    s.parse::<f64>().ok().filter(|v| plain && v.is_finite() && *v >= 0.0)
}

/// A number with a unit, in that unit's base.
fn with_unit(s: &str, units: &[(&str, f64)]) -> Option<f64> {
    let at = s.find(|c: char| c.is_ascii_alphabetic() && c != 'e').unwrap_or(s.len());
    let (value, unit) = (number(s[..at].trim())?, s[at..].trim());
    units.iter().find(|(u, _)| *u == unit).map(|(_, factor)| value * factor)
}

/// Share of the dense model's own figure, above 0 and at most 1.
fn share(s: &str) -> Option<Result<f64, ValueError>> {
    let percent = number(s.strip_suffix('%')?.trim());
    let wanted = "a percentage above 0% and up to 100%";
    Some(percent.filter(|p| *p > 0.0 && *p <= 100.0).map(|p| p / 100.0).ok_or(ValueError::Range { wanted }))
}

/// A limit on a figure: absolute, or a share of the dense model's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    /// In the figure's own unit: milliseconds, bytes, a count.
    Absolute(f64),
    /// Of the dense model's figure, above 0 and at most 1.
    Share(f64),
}

fn limit(s: &str, units: &[(&str, f64)], wanted: &'static str) -> Result<Limit, ValueError> {
    match share(s) {
        Some(share) => share.map(Limit::Share),
        None => {
            let value = with_unit(s, units).filter(|v| *v > 0.0);
            value.map(Limit::Absolute).ok_or(ValueError::Form { wanted })
        }
    }
}

/// `20ms`, `60%`.
pub(crate) fn latency(s: &str) -> Result<Limit, ValueError> {
    limit(s, &[("us", 1e-3), ("µs", 1e-3), ("ms", 1.0), ("s", 1e3)], "a time such as `20ms`, or a share such as `60%`")
}

/// `64MiB`, `50%`.
pub(crate) fn size(s: &str) -> Result<Limit, ValueError> {
    const K: f64 = 1024.0;
    let units = [
        ("", 1.0),
        ("B", 1.0),
        ("kB", 1e3),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("KiB", K),
        ("MiB", K * K),
        ("GiB", K * K * K),
    ];
    limit(s, &units, "a size such as `64MiB` or `231600` (bytes), or a share such as `50%`")
}

/// `8M`, `50%`.
pub(crate) fn count(s: &str) -> Result<Limit, ValueError> {
    let units = [("", 1.0), ("k", 1e3), ("K", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];
    limit(s, &units, "a count such as `8M`, or a share such as `50%`")
}

/// Points of the metric that may be lost, 0 or more.
pub(crate) fn points(s: &str) -> Result<f64, ValueError> {
    number(s).ok_or(ValueError::Form { wanted: "points of the metric such as `1.0`" })
}

/// Seconds, more than 0.
pub(crate) fn seconds(s: &str) -> Result<f64, ValueError> {
    let wanted = "a number of seconds above 0, such as `2.5`";
    number(s).filter(|v| *v > 0.0).ok_or(ValueError::Range { wanted })
}

/// A share of units: `0.7`, `70%`; above 0 and at most 1.
pub(crate) fn keep(s: &str) -> Result<f64, ValueError> {
    let wanted = "a share such as `0.7` or `70%`, above 0 and at most 1";
    match share(s) {
        Some(share) => share,
        None => number(s).filter(|v| *v > 0.0 && *v <= 1.0).ok_or(ValueError::Range { wanted }),
    }
}

/// A decimal number or a fraction, `1/255`.
fn fraction(s: &str) -> Option<f64> {
    let signed = |s: &str| match s.trim().strip_prefix('-') {
        Some(rest) => number(rest).map(|v| -v),
        None => number(s.trim()),
    };
    let value = match s.split_once('/') {
        Some((a, b)) => signed(a)? / signed(b)?,
        None => signed(s)?,
    };
    value.is_finite().then_some(value)
}

/// A factor on an input: `image=1/255`, or `1/255` for a model with one input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scale {
    /// Name of the input.
    pub(crate) input: Option<String>,
    /// The factor.
    pub(crate) factor: f64,
}

impl FromStr for Scale {
    type Err = ValueError;
    fn from_str(s: &str) -> Result<Self, ValueError> {
        // Names of inputs may hold `=`, numbers never do.
        let (input, value) = match s.rsplit_once('=') {
            Some((name, value)) => (Some(name.to_string()), value),
            None => (None, s),
        };
        let wanted = "`NAME=FACTOR` or `FACTOR`, the factor a number other than 0 or a fraction such as `1/255`";
        let factor = fraction(value).filter(|v| *v != 0.0).ok_or(ValueError::Form { wanted })?;
        Ok(Self { input, factor })
    }
}

/// Samples to evaluate on: `PATH`, or `NAME=PATH` or `NAME:WEIGHT=PATH`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EvalSet {
    /// Name; that of the file where none is given.
    pub(crate) name: String,
    /// Weight in the mean over several sets.
    pub(crate) weight: f64,
    /// File or folder.
    pub(crate) path: PathBuf,
}

impl FromStr for EvalSet {
    type Err = ValueError;
    fn from_str(s: &str) -> Result<Self, ValueError> {
        // What does not look like a name is part of a path that holds `=`.
        let is_name = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '));
        let named = s.split_once('=').map(|(head, path)| (head.split_once(':').unwrap_or((head, "1")), path));
        let Some(((name, weight), path)) = named.filter(|((name, _), _)| is_name(name)) else {
            let name = Path::new(s).file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(Self { name, weight: 1.0, path: s.into() });
        };
        let wanted = "`NAME:WEIGHT=SAMPLES`, the weight a number above 0";
        let weight = number(weight).filter(|w| *w > 0.0).ok_or(ValueError::Range { wanted })?;
        Ok(Self { name: name.to_string(), weight, path: path.into() })
    }
}

/// `sequence=128`.
/// A number of threads.
pub(crate) fn threads(s: &str) -> Result<NonZeroUsize, ValueError> {
    s.parse().map_err(|_| ValueError::Form { wanted: "a whole number from 1 up" })
}

pub(crate) fn dim(s: &str) -> Result<(String, u64), ValueError> {
    let parsed = s.rsplit_once('=').and_then(|(name, n)| Some((name.to_string(), n.parse().ok()?)));
    parsed
        .filter(|(_, n)| (1..=1 << 32).contains(n))
        .ok_or(ValueError::Form { wanted: "`NAME=N`, N a whole number from 1 up" })
}

/// `resize=256,crop=224,mean=0.485:0.456:0.406,std=0.229:0.224:0.225,scale=1/255`.
pub(crate) fn image(s: &str) -> Result<ImageOptions, ValueError> {
    let mut out = ImageOptions::default();
    let pixels = |v: &str| v.parse().map_err(|_| ValueError::Form { wanted: "a whole number of pixels" });
    let one = |v: &str| fraction(v).ok_or(ValueError::Form { wanted: "a number or fraction" });
    let many = |v: &str| v.split(':').map(one).collect::<Result<Vec<f64>, _>>();
    for part in s.split(',').filter(|p| !p.is_empty() && *p != "plain") {
        let (key, value) = part.split_once('=').ok_or(ValueError::Form { wanted: "`plain`, or `KEY=VALUE,…`" })?;
        match key {
            "resize" => out.resize = Some(pixels(value)?),
            "crop" => out.crop = Some(pixels(value)?),
            "mean" => out.mean = many(value)?,
            "std" => out.std = many(value)?,
            "scale" => out.scale = one(value)?,
            _ => {
                let known = "`resize`, `crop`, `mean`, `std` and `scale`";
                return Err(ValueError::Key { key: key.to_string(), known });
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_absolute_or_a_share_of_the_dense_figure() {
        assert_eq!(latency("20ms"), Ok(Limit::Absolute(20.0)));
        assert_eq!(latency("1.5 s"), Ok(Limit::Absolute(1500.0)));
        assert_eq!(latency("60%"), Ok(Limit::Share(0.6)));
        assert_eq!(size("64MiB"), Ok(Limit::Absolute(64.0 * 1024.0 * 1024.0)));
        assert_eq!(size("231600"), Ok(Limit::Absolute(231_600.0)));
        assert_eq!(count("8M"), Ok(Limit::Absolute(8e6)));
        assert_eq!(count("8e6"), Ok(Limit::Absolute(8e6)));
    }

    #[test]
    fn limits_that_mean_nothing_are_refused() {
        for s in ["", "20", "ms", "-1ms", "nanms", "infms", "1e999ms", "0ms", "20MiB"] {
            assert!(latency(s).is_err(), "{s}");
        }
        for s in ["0%", "101%", "-5%", "%", "x%"] {
            assert!(count(s).is_err(), "{s}");
        }
        assert!(keep("1.5").is_err() && keep("0").is_err());
        assert_eq!(keep("70%"), Ok(0.7));
    }

    #[test]
    fn scales_are_numbers_or_fractions_with_an_optional_name() {
        let scale = |input: Option<&str>, factor| Ok(Scale { input: input.map(str::to_string), factor });
        assert_eq!("1/255".parse(), scale(None, 1.0 / 255.0));
        assert_eq!("a=b=0.5".parse(), scale(Some("a=b"), 0.5));
        assert_eq!("x=-1/2".parse(), scale(Some("x"), -0.5));
        for s in ["", "x=", "x=1/0", "0", "1/2/3", "nan"] {
            assert!(s.parse::<Scale>().is_err(), "{s}");
        }
    }

    #[test]
    fn evaluation_sets_have_a_name_and_a_weight() {
        let set = |name: &str, weight, path: &str| Ok(EvalSet { name: name.to_string(), weight, path: path.into() });
        assert_eq!("a/val.npz".parse(), set("val.npz", 1.0, "a/val.npz"));
        assert_eq!("night=a=b.npz".parse(), set("night", 1.0, "a=b.npz"));
        assert_eq!("night:0.5=b.npz".parse(), set("night", 0.5, "b.npz"));
        assert_eq!("./a=b.npz".parse(), set("a=b.npz", 1.0, "./a=b.npz"));
        for s in ["night:0=b", "night:x=b", "night:=b"] {
            assert!(s.parse::<EvalSet>().is_err(), "{s}");
        }
    }

    #[test]
    fn image_options_are_named() {
        let o = image("resize=256,crop=224,mean=0.5,std=0.1:0.2:0.3").unwrap();
        assert_eq!((o.resize, o.crop, o.mean, o.std), (Some(256), Some(224), vec![0.5], vec![0.1, 0.2, 0.3]));
        assert_eq!(image("plain"), Ok(ImageOptions::default()));
        assert!(matches!(image("croop=1"), Err(ValueError::Key { .. })));
    }
}
