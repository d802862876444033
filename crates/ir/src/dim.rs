//! Symbolic dimensions: polynomials over named sizes, so that shape arithmetic can be evaluated before sizes are known.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A named size such as `batch`. Names that start with `?` stand for sizes nobody named.
pub type Sym = Arc<str>;

/// A size as a polynomial with whole coefficients: `2·batch + 1`.
///
/// Two dims are equal exactly if their polynomials are; a constant polynomial is a known size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dim {
    /// Monomial (its factors sorted; empty for the constant) to coefficient. No zero coefficients.
    terms: BTreeMap<Vec<Sym>, i64>,
}

/// Terms of a polynomial, and symbols of a term, beyond which a size is not followed: products of sums grow exponentially.
const MOST: usize = 64;

impl Dim {
    /// The named size `name`.
    pub fn sym(name: &str) -> Self {
        Self { terms: BTreeMap::from([(vec![Sym::from(name)], 1)]) }
    }
    /// The constant, if no symbol occurs.
    pub fn as_const(&self) -> Option<i64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Vec::new()).copied(),
            _ => None,
        }
    }
    /// The constant as a size, if it is one and not negative.
    pub fn as_size(&self) -> Option<u64> {
        self.as_const().and_then(|c| u64::try_from(c).ok())
    }
    /// The symbol, if the polynomial is just that.
    pub fn as_sym(&self) -> Option<&Sym> {
        let (monomial, &coefficient) = self.terms.first_key_value()?;
        (self.terms.len() == 1 && monomial.len() == 1 && coefficient == 1).then(|| &monomial[0])
    }
    /// Every symbol that occurs.
    pub fn syms(&self) -> impl Iterator<Item = &Sym> {
        self.terms.keys().flatten()
    }
    /// Sum; `None` on overflow, and where it has more than 64 terms.
    pub fn add(&self, other: &Dim) -> Option<Dim> {
        let mut out = self.clone();
        other.terms.iter().try_for_each(|(m, c)| out.add_term(m.clone(), *c))?;
        Some(out)
    }
    /// Adds a term; `None` as of [`Dim::add`].
    fn add_term(&mut self, monomial: Vec<Sym>, coefficient: i64) -> Option<()> {
        let sum = self.terms.get(&monomial).copied().unwrap_or(0).checked_add(coefficient)?;
        if sum == 0 {
            self.terms.remove(&monomial);
        } else {
            self.terms.insert(monomial, sum);
        }
        (self.terms.len() <= MOST).then_some(())
    }
    /// Difference; `None` as of [`Dim::add`].
    pub fn sub(&self, other: &Dim) -> Option<Dim> {
        self.add(&other.mul(&Dim::from(-1))?)
    }
    /// Product; `None` on overflow, and where it has more than 64 terms or a term more than 64 symbols.
    pub fn mul(&self, other: &Dim) -> Option<Dim> {
        let mut out = Dim::from(0);
        for (ma, ca) in &self.terms {
            for (mb, cb) in &other.terms {
                if ma.len() + mb.len() > MOST {
                    return None;
                }
                let mut m: Vec<Sym> = ma.iter().chain(mb).cloned().collect();
                m.sort();
                out.add_term(m, ca.checked_mul(*cb)?)?;
            }
        }
        Some(out)
    }
    /// The quotient where `other` divides every term, else `None`. Only a single-term `other` can divide a sum.
    pub fn div_exact(&self, other: &Dim) -> Option<Dim> {
        if self == other && self.as_const() != Some(0) {
            return Some(Dim::from(1));
        }
        let (dm, &dc) = other.terms.first_key_value()?;
        if other.terms.len() != 1 {
            return None;
        }
        let mut terms = BTreeMap::new();
        for (m, c) in &self.terms {
            let mut rest = m.clone();
            for s in dm {
                rest.remove(rest.iter().position(|r| r == s)?);
            }
            if c.checked_rem(dc)? != 0 {
                return None;
            }
            terms.insert(rest, c.checked_div(dc)?);
        }
        Some(Dim { terms })
    }
    /// The polynomial with each symbol for which `size` answers replaced; `None` as of [`Dim::mul`].
    pub fn substitute(&self, size: &dyn Fn(&str) -> Option<u64>) -> Option<Dim> {
        let mut out = Dim::from(0);
        for (m, &c) in &self.terms {
            let mut term = Dim::from(c);
            for s in m {
                let factor = match size(s) {
                    Some(n) => Dim::from(i64::try_from(n).ok()?),
                    None => Dim::sym(s),
                };
                term = term.mul(&factor)?;
            }
            out = out.add(&term)?;
        }
        Some(out)
    }
    /// The least value, if no size makes it smaller: sizes are never negative, so a polynomial without negative
    /// coefficients is at least its constant term.
    pub fn at_least(&self) -> Option<i64> {
        let constant = self.terms.get(&Vec::new()).copied().unwrap_or(0);
        self.terms.iter().all(|(m, &c)| m.is_empty() || c > 0).then_some(constant)
    }
    /// Product of `dims`; `None` as of [`Dim::mul`].
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Option<Dim> {
        dims.into_iter().try_fold(Dim::from(1), |p, d| p.mul(d))
    }
}

impl From<i64> for Dim {
    fn from(c: i64) -> Self {
        Self { terms: if c == 0 { BTreeMap::new() } else { BTreeMap::from([(Vec::new(), c)]) } }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        // Highest degree first, as people write polynomials.
        let mut terms: Vec<_> = self.terms.iter().collect();
        terms.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.0.cmp(b.0)));
        for (i, (m, &c)) in terms.into_iter().enumerate() {
            let sign = if c < 0 {
                "-"
            } else if i > 0 {
                "+"
            } else {
                ""
            };
            f.write_str(sign)?;
            let magnitude = c.unsigned_abs();
            if magnitude != 1 || m.is_empty() {
                write!(f, "{magnitude}")?;
                if !m.is_empty() {
                    f.write_str("*")?;
                }
            }
            for (k, s) in m.iter().enumerate() {
                if k > 0 {
                    f.write_str("*")?;
                }
                f.write_str(s)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_add_multiply_and_divide() {
        let b = Dim::sym("b");
        let e = b.mul(&Dim::from(6)).unwrap().add(&Dim::from(4)).unwrap();
        assert_eq!(e.to_string(), "6*b+4");
        assert_eq!(e.div_exact(&Dim::from(2)).unwrap().to_string(), "3*b+2");
        assert_eq!(e.div_exact(&Dim::from(4)), None);
        assert_eq!(e.sub(&e).unwrap().as_const(), Some(0));
        assert_eq!(e.substitute(&|s| (s == "b").then_some(2)).unwrap().as_const(), Some(16));
        assert_eq!(b.mul(&b).unwrap().div_exact(&b), Some(b));
    }

    #[test]
    fn polynomials_that_grow_too_long_are_given_up() {
        let all: Vec<Dim> = (0..2 * MOST).map(|i| Dim::sym(&format!("s{i}"))).collect();
        let sum = |dims: &[Dim]| dims.iter().try_fold(Dim::from(0), |sum, d| sum.add(d));
        assert!(sum(&all[..MOST]).is_some());
        assert_eq!(sum(&all[..=MOST]), None);
        let longer: Vec<Dim> = all.iter().map(|d| d.add(&Dim::from(1)).unwrap()).collect();
        assert_eq!(Dim::product(&longer[..6]).unwrap().terms.len(), MOST);
        assert_eq!(Dim::product(&longer[..7]), None);
        assert!(Dim::product(&all[..MOST]).is_some());
        assert_eq!(Dim::product(&all), None);
    }
}
