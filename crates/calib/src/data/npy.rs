//! NumPy's array format and archives of it, read as hostile input: nothing is allocated before the declared sizes were
//! checked against the bytes that are there.
//!
//! Format: numpy's `numpy.lib.format`, versions 1 to 3; an `.npz` is a zip archive of `.npy` files.

use npyz::npz::{NpzArchive, array_name_from_file_name};
use npyz::zip::result::ZipError;
use sparsec_ir::{ElemType, Tensor, TensorError};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use thiserror::Error;

/// Largest array that is read into memory.
pub(crate) const MAX_BYTES: u64 = 4 << 30;
/// Longest header text; numpy's own are below 200 bytes.
const MAX_HEADER: u64 = 1 << 16;
/// Deflate cannot shrink below 1/1032 of the plain bytes; anything beyond is a lie or a bomb.
const MAX_RATIO: u64 = 1100;
/// Axes of an array; numpy's own limit is 64.
const MAX_RANK: usize = 64;

/// Why an array cannot be read.
#[derive(Debug, Error)]
pub enum ArrayError {
    /// The operating system refused.
    #[error("cannot be read")]
    Io(#[from] std::io::Error),
    /// The file does not begin as `.npy` files do.
    #[error("is no `.npy` array: it does not begin with `\\x93NUMPY`")]
    Magic,
    /// A format version from the future.
    #[error("has format version {0}, and only 1 to 3 are known")]
    Version(u8),
    /// The header is not a dictionary of `descr`, `fortran_order` and `shape`.
    #[error("has a broken header: {wanted} expected at byte {at}")]
    Header {
        /// Where in the header text.
        at: usize,
        /// What should be there.
        wanted: &'static str,
    },
    /// Elements that no tensor can hold.
    #[error("has elements of type `{descr}`; booleans, whole numbers and floats of 16 to 64 bits can be read")]
    Elem {
        /// numpy's description.
        descr: String,
    },
    /// The sizes do not multiply to the bytes there are.
    #[error("declares {dims:?} of {elem}, which takes {expected} bytes, but {found} are there")]
    Length {
        /// Element type.
        elem: ElemType,
        /// Declared sizes.
        dims: Vec<u64>,
        /// Bytes that the sizes ask for.
        expected: u64,
        /// Bytes after the header.
        found: u64,
    },
    /// The sizes overflow.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// More than is read into memory.
    #[error("takes {bytes} bytes, and at most {MAX_BYTES} are read: pass fewer samples")]
    TooLarge {
        /// Bytes it takes.
        bytes: u64,
    },
    /// An entry whose declared size no compressor reaches.
    #[error("claims to grow from {packed} to {plain} bytes, more than deflate can shrink anything")]
    Ratio {
        /// Compressed size.
        packed: u64,
        /// Declared size.
        plain: u64,
    },
    /// The zip container is broken.
    #[error("is a broken archive")]
    Archive(#[source] ZipError),
}

impl From<ZipError> for ArrayError {
    fn from(e: ZipError) -> Self {
        match e {
            ZipError::Io(e) => Self::Io(e),
            e => Self::Archive(e),
        }
    }
}

/// Texts of one length.
#[derive(Debug, PartialEq)]
struct Words {
    letters: u64,
    /// numpy's description.
    descr: String,
}

/// What the header says.
#[derive(Debug, PartialEq)]
struct Header {
    /// Its own length.
    bytes: u64,
    elem: ElemType,
    /// Where elements are texts, which lie there as numbers of type `elem`.
    text: Option<Words>,
    swap: bool,
    fortran: bool,
    dims: Vec<u64>,
}

/// Reads a whole `.npy` file, or its first `rows` along axis 0.
pub(crate) fn read_file(path: &Path, rows: Option<u64>) -> Result<Tensor, ArrayError> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    numbers(&mut BufReader::new(file), len, rows)
}

/// An open `.npz` archive.
pub(crate) struct Archive {
    zip: NpzArchive<BufReader<File>>,
    /// Array names in archive order, with their entries.
    entries: Vec<(String, usize)>,
}

impl Archive {
    /// Opens an archive and lists its arrays. Entries that are not named `*.npy` are passed over, as numpy does.
    pub(crate) fn open(path: &Path) -> Result<Self, ArrayError> {
        let mut zip = match NpzArchive::new(BufReader::new(File::open(path)?)) {
            Ok(zip) => zip,
            Err(e) => return Err(ArrayError::Io(e)),
        };
        let archive = zip.zip_archive();
        let mut entries = Vec::new();
        for i in 0..archive.len() {
            let entry = archive.by_index_raw(i)?;
            if let Some(name) = array_name_from_file_name(entry.name()) {
                entries.push((name.to_string(), i));
            }
        }
        Ok(Self { zip, entries })
    }
    /// Names of the arrays, in archive order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(n, _)| n.as_str())
    }
    /// Reads array `name`, or its first `rows` along axis 0; `None` where there is none.
    pub(crate) fn read(&mut self, name: &str, rows: Option<u64>) -> Result<Option<Tensor>, ArrayError> {
        self.entry(name, |entry, len| numbers(entry, len, rows))
    }
    /// The elements of array `name`, or its first `rows`, as people write them: numbers or texts. `None` where there is none,
    /// or one of several axes.
    pub(crate) fn words(&mut self, name: &str, rows: Option<u64>) -> Result<Option<Vec<String>>, ArrayError> {
        Ok(self.entry(name, |entry, len| words(entry, len, rows))?.flatten())
    }
    fn entry<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut dyn Read, u64) -> Result<T, ArrayError>,
    ) -> Result<Option<T>, ArrayError> {
        let Some(&(_, index)) = self.entries.iter().find(|(n, _)| n == name) else { return Ok(None) };
        let mut entry = self.zip.zip_archive().by_index(index)?;
        let (packed, plain) = (entry.compressed_size(), entry.size());
        if plain / MAX_RATIO > packed {
            return Err(ArrayError::Ratio { packed, plain });
        }
        read(&mut entry, plain).map(Some)
    }
}

/// Reads an array of numbers of `len` bytes, header included.
fn numbers(reader: &mut dyn Read, len: u64, rows: Option<u64>) -> Result<Tensor, ArrayError> {
    let header = header(reader)?;
    match &header.text {
        Some(text) => Err(ArrayError::Elem { descr: text.descr.clone() }),
        None => data(reader, header, len, rows),
    }
}

/// Reads an array of `len` bytes, header included: each element as people write it. `None` if it has not one axis.
fn words(reader: &mut dyn Read, len: u64, rows: Option<u64>) -> Result<Option<Vec<String>>, ArrayError> {
    let mut header = header(reader)?;
    if header.dims.len() != 1 {
        return Ok(None);
    }
    let letters = header.text.as_ref().map(|t| t.letters);
    header.dims.extend(letters);
    header.fortran = false; // which means nothing for one axis
    let tensor = data(reader, header, len, rows)?;
    if tensor.elem.is_float() {
        return Ok(Some(tensor.to_f64()?.iter().map(f64::to_string).collect()));
    }
    let numbers = tensor.to_i64()?;
    let Some(letters) = letters else { return Ok(Some(numbers.iter().map(i64::to_string).collect())) };
    let letter = |n: &i64| u32::try_from(*n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    // Shorter texts are filled up with zeros.
    let word = |w: &[i64]| w.iter().map(letter).collect::<String>().trim_end_matches('\0').to_string();
    Ok(Some(numbers.chunks(letters as usize).map(word).collect()))
}

/// Reads what comes before the data.
fn header(reader: &mut dyn Read) -> Result<Header, ArrayError> {
    let mut prefix = [0u8; 8];
    read_exactly(reader, &mut prefix)?;
    if &prefix[..6] != b"\x93NUMPY" {
        return Err(ArrayError::Magic);
    }
    let (text_len, prefix_len) = match prefix[6] {
        1 => {
            let mut b = [0u8; 2];
            reader.read_exact(&mut b)?;
            (u64::from(u16::from_le_bytes(b)), 10)
        }
        2 | 3 => {
            let mut b = [0u8; 4];
            reader.read_exact(&mut b)?;
            (u64::from(u32::from_le_bytes(b)), 12)
        }
        v => return Err(ArrayError::Version(v)),
    };
    if text_len > MAX_HEADER {
        return Err(ArrayError::Header { at: 0, wanted: "a text of at most 64 KiB" });
    }
    let mut text = vec![0u8; text_len as usize];
    reader.read_exact(&mut text)?;
    Ok(Header { bytes: prefix_len + text_len, ..parse(&text)? })
}

/// Reads the data of an array of `len` bytes, header included.
fn data(reader: &mut dyn Read, header: Header, len: u64, rows: Option<u64>) -> Result<Tensor, ArrayError> {
    let Header { elem, swap, fortran, mut dims, .. } = header;
    let count = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    let overflow = || TensorError::Overflow { dims: dims.clone() };
    let expected = count.and_then(|n| elem.raw_len(n)).ok_or_else(overflow)?;
    let found = len.saturating_sub(header.bytes);
    if expected != found {
        return Err(ArrayError::Length { elem, dims, expected, found });
    }
    // Rows of a Fortran array are scattered over the whole of it.
    let scattered = fortran && dims.len() > 1;
    let first = dims.first().copied().unwrap_or(1);
    let wanted = rows.map_or(first, |r| r.min(first));
    let needed = if scattered || first == 0 { expected } else { expected / first * wanted };
    if needed > MAX_BYTES {
        return Err(ArrayError::TooLarge { bytes: needed });
    }
    // Grows as bytes arrive: a lying size costs no memory.
    let mut data = Vec::with_capacity(needed.min(1 << 20) as usize);
    reader.take(needed).read_to_end(&mut data)?;
    if data.len() as u64 != needed {
        return Err(ArrayError::Length { elem, dims, expected, found: data.len() as u64 });
    }
    if needed == expected {
        // The end of an archive's entry is where its checksum is compared.
        reader.read_exact(&mut [0u8]).or_else(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => Ok(()),
            _ => Err(e),
        })?;
    }
    let width = (elem.bits() / 8) as usize;
    if swap {
        data.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    if elem == ElemType::Bool {
        data.iter_mut().for_each(|b| *b = u8::from(*b != 0));
    }
    if scattered {
        data = row_major(&data, &dims, width);
        data.truncate((expected / first.max(1) * wanted) as usize);
    }
    if let Some(d) = dims.first_mut() {
        *d = wanted;
    }
    Ok(Tensor::raw(elem, dims, data.into())?)
}

fn read_exactly(reader: &mut dyn Read, out: &mut [u8]) -> Result<(), ArrayError> {
    reader.read_exact(out).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => ArrayError::Magic,
        _ => ArrayError::Io(e),
    })
}

/// Elements of a column-major array in row-major order.
fn row_major(data: &[u8], dims: &[u64], width: usize) -> Vec<u8> {
    let dims: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
    let strides: Vec<usize> = dims.iter().scan(width, |s, d| Some(std::mem::replace(s, *s * d))).collect();
    let mut index = vec![0usize; dims.len()];
    let mut out = Vec::with_capacity(data.len());
    let mut at = 0;
    while out.len() < data.len() {
        out.extend_from_slice(&data[at..at + width]);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < dims[axis] {
                break;
            }
            at -= strides[axis] * dims[axis];
            index[axis] = 0;
        }
    }
    out
}

/// Parses the header: a Python dictionary with exactly the three known keys.
fn parse(text: &[u8]) -> Result<Header, ArrayError> {
    let mut t = Text { text, at: 0 };
    let (mut descr, mut fortran, mut dims) = (None, None, None);
    t.expect(b'{', "`{`")?;
    while !t.eat(b'}') {
        let key = t.string()?;
        t.expect(b':', "`:`")?;
        match key {
            b"descr" => descr = Some(t.descr()?),
            b"fortran_order" => fortran = Some(t.boolean()?),
            b"shape" => dims = Some(t.tuple()?),
            _ => return Err(t.wanted("`descr`, `fortran_order` or `shape`")),
        }
        if !t.eat(b',') {
            t.expect(b'}', "`,` or `}`")?;
            break;
        }
    }
    let (Some(descr), Some(fortran), Some(dims)) = (descr, fortran, dims) else {
        return Err(t.wanted("`descr`, `fortran_order` and `shape`"));
    };
    let (elem, text, swap) = element(descr)?;
    Ok(Header { bytes: 0, elem, text, swap, fortran, dims })
}

/// Element type of a description such as `<f4`, the length of texts for one such as `<U8`, and whether bytes are in the
/// wrong order.
fn element(descr: &[u8]) -> Result<(ElemType, Option<Words>, bool), ArrayError> {
    let unknown = || ArrayError::Elem { descr: String::from_utf8_lossy(descr).into_owned() };
    let (&order, kind) = descr.split_first().ok_or_else(unknown)?;
    let length = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok().filter(|n| *n > 0);
    let text = match kind {
        [b'U' | b'S', digits @ ..] => {
            let descr = String::from_utf8_lossy(descr).into_owned();
            Some(Words { letters: length(digits).ok_or_else(unknown)?, descr })
        }
        _ => None,
    };
    let elem = match kind {
        [b'U', ..] => ElemType::U32,
        [b'S', ..] => ElemType::U8,
        b"b1" => ElemType::Bool,
        b"i1" => ElemType::I8,
        b"u1" => ElemType::U8,
        b"i2" => ElemType::I16,
        b"u2" => ElemType::U16,
        b"i4" => ElemType::I32,
        b"u4" => ElemType::U32,
        b"i8" => ElemType::I64,
        b"u8" => ElemType::U64,
        b"f2" => ElemType::F16,
        b"f4" => ElemType::F32,
        b"f8" => ElemType::F64,
        _ => return Err(unknown()),
    };
    match order {
        b'<' | b'|' | b'=' => Ok((elem, text, false)),
        b'>' => Ok((elem, text, true)),
        _ => Err(unknown()),
    }
}

/// A cursor over the header text.
struct Text<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Text<'t> {
    fn wanted(&self, wanted: &'static str) -> ArrayError {
        ArrayError::Header { at: self.at, wanted }
    }
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }
    fn eat(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }
    fn expect(&mut self, byte: u8, wanted: &'static str) -> Result<(), ArrayError> {
        if self.eat(byte) { Ok(()) } else { Err(self.wanted(wanted)) }
    }
    fn string(&mut self) -> Result<&'t [u8], ArrayError> {
        let quote = self.peek().filter(|q| matches!(q, b'\'' | b'"')).ok_or_else(|| self.wanted("a string"))?;
        let rest = &self.text[self.at + 1..];
        let len = rest.iter().position(|&b| b == quote).ok_or_else(|| self.wanted("the end of the string"))?;
        self.at += len + 2;
        Ok(&rest[..len])
    }
    /// A description; that of a structured type is taken to the end of the text, for the message.
    fn descr(&mut self) -> Result<&'t [u8], ArrayError> {
        match self.peek() {
            Some(b'[') => {
                let shown = &self.text[self.at..(self.at + 40).min(self.text.len())];
                Err(ArrayError::Elem { descr: format!("{}…", String::from_utf8_lossy(shown)) })
            }
            _ => self.string(),
        }
    }
    fn boolean(&mut self) -> Result<bool, ArrayError> {
        self.peek();
        for (word, value) in [(&b"True"[..], true), (&b"False"[..], false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.wanted("`True` or `False`"))
    }
    fn tuple(&mut self) -> Result<Vec<u64>, ArrayError> {
        self.expect(b'(', "`(`")?;
        let mut dims = Vec::new();
        while !self.eat(b')') {
            if dims.len() == MAX_RANK {
                return Err(self.wanted("at most 64 sizes"));
            }
            dims.push(self.number()?);
            self.eat(b'L');
            if !self.eat(b',') {
                self.expect(b')', "`,` or `)`")?;
                break;
            }
        }
        Ok(dims)
    }
    fn number(&mut self) -> Result<u64, ArrayError> {
        self.peek();
        let digits = self.text[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let text = std::str::from_utf8(&self.text[self.at..self.at + digits]).unwrap_or_default();
        let n = text.parse().map_err(|_| self.wanted("a size that fits 64 bits"))?;
        self.at += digits;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }
    fn load(bytes: &[u8], rows: Option<u64>) -> Result<Tensor, ArrayError> {
        numbers(&mut &bytes[..], bytes.len() as u64, rows)
    }

    #[test]
    fn texts_are_words_and_no_numbers() {
        let words = |descr: &str, shape: &str, data: &[u8]| {
            let npy = file(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"), data);
            words(&mut &npy[..], npy.len() as u64, None)
        };
        let unicode: Vec<u8> = "aé\0b\0\0".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        assert_eq!(words("<U3", "(2,)", &unicode).unwrap(), Some(vec!["aé".to_string(), "b".to_string()]));
        assert_eq!(words("|S2", "(2,)", b"ab\0\0").unwrap(), Some(vec!["ab".to_string(), String::new()]));
        assert_eq!(words("|b1", "(2,)", &[1, 0]).unwrap(), Some(vec!["1".to_string(), "0".to_string()]));
        assert_eq!(words("|S1", "(1, 2)", b"ab").unwrap(), None);
        for broken in ["<U", "<U0", "<Ux", "<U99999999999999999999"] {
            assert!(matches!(words(broken, "(2,)", &unicode), Err(ArrayError::Elem { .. })), "{broken}");
        }
        assert!(matches!(words("<U4611686018427387904", "(2,)", &unicode), Err(ArrayError::Tensor(_))));
        let npy = file("{'descr': '|S2', 'fortran_order': False, 'shape': (2,), }", b"abcd");
        assert!(matches!(load(&npy, None), Err(ArrayError::Elem { .. })));
    }

    #[test]
    fn column_major_big_endian_arrays_become_row_major_little_endian() {
        let data: Vec<u8> = [0u16, 3, 1, 4, 2, 5].iter().flat_map(|v| v.to_be_bytes()).collect();
        let npy = file("{'descr': '>u2', 'fortran_order': True, 'shape': (2, 3), }", &data);
        let t = load(&npy, None).unwrap();
        assert_eq!((t.dims.as_slice(), t.to_i64().unwrap()), (&[2, 3][..], vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(load(&npy, Some(1)).unwrap().to_i64().unwrap(), [0, 1, 2]);
    }

    #[test]
    fn the_first_rows_can_be_read_alone() {
        let npy = file("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2)}", &[0, 1, 2, 3, 4, 5]);
        let t = load(&npy, Some(2)).unwrap();
        assert_eq!((t.dims.as_slice(), t.to_i64().unwrap()), (&[2, 2][..], vec![0, 1, 2, 3]));
    }

    #[test]
    fn sizes_that_lie_are_refused_before_anything_is_allocated() {
        let lying = |shape: &str| {
            let text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}");
            load(&file(&text, &[0; 8]), None).unwrap_err()
        };
        assert!(matches!(lying("(1000000000000,)"), ArrayError::Length { found: 8, .. }));
        assert!(matches!(lying("(4294967296, 4294967296, 16)"), ArrayError::Tensor(TensorError::Overflow { .. })));
        assert!(matches!(lying("(99999999999999999999,)"), ArrayError::Header { .. }));
    }

    #[test]
    fn elements_that_no_tensor_holds_are_named() {
        for (descr, shown) in [("'|O'", "|O"), ("'<U7'", "<U7"), ("'<c8'", "<c8")] {
            let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,)}}");
            assert!(matches!(load(&file(&text, &[0]), None), Err(ArrayError::Elem { descr }) if descr == shown));
        }
        let text = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}";
        assert!(matches!(load(&file(text, &[0; 4]), None), Err(ArrayError::Elem { .. })));
    }

    #[test]
    fn no_prefix_and_no_change_of_a_byte_panics() {
        let npy = file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }", &[1, 2, 3, 4, 5, 6, 7, 8]);
        for cut in 0..npy.len() {
            assert!(load(&npy[..cut], None).is_err(), "{cut} bytes");
        }
        for at in 0..npy.len() {
            for value in [0u8, 0x27, 0x28, 0x7b, 0xff] {
                let mut changed = npy.clone();
                changed[at] = value;
                let _ = load(&changed, None);
            }
        }
    }
}
