//! Images as samples: a folder of images, or one folder a class, in a stated preprocessing.

use super::error::{DataError, Note};
use super::load::{Found, Slot, entries};
use super::npy::MAX_BYTES;
use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits};
use rayon::prelude::*;
use sparsec_ir::{Dim, ElemType, Tensor};
use std::path::{Path, PathBuf};

/// How images become tensors. In order: resize, crop, take the channels, scale, normalise.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImageOptions {
    /// The shorter side is made this long, in pixels, bilinear with antialiasing; the other side follows, rounded down.
    pub resize: Option<u32>,
    /// A centred square of this side is cut out; offsets round half to even.
    pub crop: Option<u32>,
    /// Subtracted from each channel, after scaling: one number for all channels or one for each.
    pub mean: Vec<f64>,
    /// Divides each channel, after the mean was subtracted: one number for all channels or one for each.
    pub std: Vec<f64>,
    /// Multiplies pixel values 0 to 255.
    pub scale: f64,
}

impl Default for ImageOptions {
    /// Pixels in [0, 1], sizes untouched.
    fn default() -> Self {
        Self { resize: None, crop: None, mean: Vec::new(), std: Vec::new(), scale: 1.0 / 255.0 }
    }
}

/// Where the model has its axes.
#[derive(Clone, Copy)]
struct Layout {
    channels: usize,
    channels_last: bool,
    /// Fixed height and width of the input, where it has them.
    size: [Option<u64>; 2],
}

const EXTENSIONS: [&str; 4] = ["png", "jpg", "jpeg", "bmp"];

/// Whether the file's name says that it is an image of a kind that can be read.
pub(super) fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// Reads the images of `folder`. Subfolders are classes, numbered in the order of their names. Where fewer than all samples
/// are wanted, they are spread evenly over the sorted files, so that every class keeps its share.
pub(super) fn read(folder: &Path, slot: &Slot<'_>, o: &ImageOptions, max: Option<u64>) -> Result<Found, DataError> {
    let layout = layout(slot)?;
    check_options(o, layout.channels)?;
    let (mut files, skipped) = files(folder)?;
    if let Some(max) = max.map(|m| m as usize).filter(|&m| m < files.len()) {
        files = (0..max).map(|i| files[i * files.len() / max].clone()).collect();
    }
    let Some((first, _)) = files.first() else { return Err(DataError::Empty { path: folder.to_path_buf() }) };
    let (width, height) = final_size(&open(first)?, o, first)?;
    let fits = |axis: usize, found: u32| layout.size[axis].is_none_or(|s| s == u64::from(found));
    if !fits(0, height) || !fits(1, width) {
        return Err(DataError::ImageSize { file: first.clone(), height, width, wanted: layout.size });
    }
    let pixels = u64::from(width) * u64::from(height) * layout.channels as u64;
    let bytes = (files.len() as u64).saturating_mul(pixels).saturating_mul(u64::from(slot.elem.bits()) / 8);
    if bytes > MAX_BYTES {
        return Err(DataError::TooLarge { path: folder.to_path_buf(), bytes, limit: MAX_BYTES });
    }
    let decoded: Vec<Result<Vec<u8>, DataError>> = files
        .par_iter()
        .map(|(file, _)| {
            let image = open(file)?;
            let found = final_size(&image, o, file)?;
            if found != (width, height) {
                let wanted = [Some(u64::from(height)), Some(u64::from(width))];
                return Err(DataError::ImageSize { file: file.clone(), height: found.1, width: found.0, wanted });
            }
            bytes_of(&image, slot, layout, o, (width, height))
        })
        .collect();
    // Not collected as a Result: which of several errors that reports depends on the threads.
    let mut data = Vec::with_capacity(bytes as usize);
    for d in decoded {
        data.extend(d?);
    }
    let (n, c, h, w) = (files.len() as u64, layout.channels as u64, u64::from(height), u64::from(width));
    let dims = if layout.channels_last { vec![n, h, w, c] } else { vec![n, c, h, w] };
    let input = Tensor::raw(slot.elem, dims, data.into()).map_err(|e| slot.tensor(e))?;
    let labels: Option<Vec<i64>> = files.iter().map(|(_, class)| *class).collect();
    let label = labels.map(|l| Tensor::i64(&[n], &l));
    let notes = if skipped > 0 { vec![Note::Skipped { files: skipped, folder: folder.to_path_buf() }] } else { vec![] };
    Ok(Found { inputs: vec![input], label, columns: Vec::new(), notes })
}

/// An image file with its class, where it lies in a folder of one.
type Labelled = (PathBuf, Option<i64>);

/// Image files, sorted, and how many other files there are.
fn files(folder: &Path) -> Result<(Vec<Labelled>, u64), DataError> {
    let (mut out, mut skipped) = (Vec::new(), 0);
    let mut add = |entries: Vec<PathBuf>, class: Option<i64>| {
        for e in entries {
            if is_image(&e) {
                out.push((e, class));
            } else {
                skipped += 1;
            }
        }
    };
    let (classes, plain): (Vec<_>, Vec<_>) = entries(folder)?.into_iter().partition(|e| e.is_dir());
    if !classes.is_empty() && plain.iter().any(|e| is_image(e)) {
        return Err(DataError::MixedFolder { path: folder.to_path_buf() });
    }
    add(plain, None);
    for (class, sub) in classes.iter().enumerate() {
        add(entries(sub)?, Some(class as i64));
    }
    Ok((out, skipped))
}

/// Which axes of the input are channels, height and width: axis 1 or the last one has size 1 or 3.
fn layout(slot: &Slot<'_>) -> Result<Layout, DataError> {
    let refuse = || DataError::NoImageInput { input: slot.name.to_string(), ty: slot.ty.clone() };
    let shape = slot.shape.filter(|s| s.len() == 4).ok_or_else(refuse)?;
    let size = |axis: usize| Dim::as_size(&shape[axis]);
    let colour = |axis: usize| size(axis).filter(|s| [1, 3].contains(s)).map(|s| s as usize);
    match (colour(1), colour(3)) {
        (Some(channels), None) => Ok(Layout { channels, channels_last: false, size: [size(2), size(3)] }),
        (None, Some(channels)) => Ok(Layout { channels, channels_last: true, size: [size(1), size(2)] }),
        _ => Err(refuse()),
    }
}

fn check_options(o: &ImageOptions, channels: usize) -> Result<(), DataError> {
    for (what, list) in [("mean", &o.mean), ("std", &o.std)] {
        if list.len() > 1 && list.len() != channels {
            return Err(DataError::ChannelOptions { what, given: list.len(), channels });
        }
        if let Some(&value) = list.iter().find(|v| !v.is_finite() || what == "std" && **v == 0.0) {
            return Err(DataError::ImageOption { what, value });
        }
    }
    if !o.scale.is_finite() || o.scale == 0.0 {
        return Err(DataError::ImageOption { what: "scale", value: o.scale });
    }
    for (what, side) in [("resize", o.resize), ("crop", o.crop)] {
        if side == Some(0) {
            return Err(DataError::ImageOption { what, value: 0.0 });
        }
    }
    Ok(())
}

fn open(file: &Path) -> Result<DynamicImage, DataError> {
    let io = |source| DataError::Io { path: file.to_path_buf(), source };
    // The content decides the format: names lie.
    let mut reader = ImageReader::open(file).map_err(io)?.with_guessed_format().map_err(io)?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(1 << 15), Some(1 << 15));
    reader.limits(limits);
    reader.decode().map_err(|source| DataError::Image { file: file.to_path_buf(), source })
}

/// Width and height after resizing.
fn resized(image: &DynamicImage, o: &ImageOptions) -> (u64, u64) {
    let (w, h) = (u64::from(image.width()), u64::from(image.height()));
    match o.resize.map(u64::from) {
        None => (w, h),
        Some(short) if w <= h => (short, h * short / w.max(1)),
        Some(short) => (w * short / h.max(1), short),
    }
}

/// Width and height after resizing and cropping.
fn final_size(image: &DynamicImage, o: &ImageOptions, file: &Path) -> Result<(u32, u32), DataError> {
    let (w, h) = resized(image, o);
    match o.crop {
        Some(side) if u64::from(side) > w.min(h) => {
            Err(DataError::CropTooLarge { file: file.to_path_buf(), crop: side, width: w, height: h })
        }
        Some(side) => Ok((side, side)),
        None => {
            let small = |v: u64| u32::try_from(v).ok().filter(|v| *v <= 1 << 15);
            let both = small(w).zip(small(h));
            both.ok_or_else(|| DataError::TooLarge { path: file.to_path_buf(), bytes: w * h, limit: MAX_BYTES })
        }
    }
}

fn bytes_of(
    image: &DynamicImage,
    slot: &Slot<'_>,
    layout: Layout,
    o: &ImageOptions,
    (width, height): (u32, u32),
) -> Result<Vec<u8>, DataError> {
    let (rw, rh) = resized(image, o);
    let too_large = |bytes| DataError::TooLarge { path: PathBuf::from(slot.name), bytes, limit: MAX_BYTES };
    let (rw, rh) = match (u32::try_from(rw), u32::try_from(rh)) {
        (Ok(w), Ok(h)) if u64::from(w) * u64::from(h) <= MAX_BYTES / 16 => (w, h),
        _ => return Err(too_large(rw.saturating_mul(rh))),
    };
    let mut rgb = image.to_rgb8();
    if (rw, rh) != rgb.dimensions() {
        rgb = image::imageops::resize(&rgb, rw, rh, FilterType::Triangle);
    }
    let offset = |whole: u32, part: u32| (f64::from(whole - part) / 2.0).round_ties_even() as u32;
    let (x0, y0) = (offset(rw, width), offset(rh, height));
    let grey = |p: &[u8; 3]| {
        // Luma of ITU-R BT.601 in 16-bit fixed point.
        ((u32::from(p[0]) * 19595 + u32::from(p[1]) * 38470 + u32::from(p[2]) * 7471 + 0x8000) >> 16) as u8
    };
    let pick = |list: &[f64], c: usize, default: f64| match list {
        [] => default,
        [one] => *one,
        many => many[c],
    };
    let channels = layout.channels;
    let value = |x: u32, y: u32, c: usize| {
        let p = &rgb.get_pixel(x0 + x, y0 + y).0;
        let v = if channels == 1 { grey(p) } else { p[c] };
        (f64::from(v) * o.scale - pick(&o.mean, c, 0.0)) / pick(&o.std, c, 1.0)
    };
    let mut values = Vec::with_capacity(width as usize * height as usize * channels);
    if layout.channels_last {
        for y in 0..height {
            for x in 0..width {
                values.extend((0..channels).map(|c| value(x, y, c)));
            }
        }
    } else {
        for c in 0..channels {
            for y in 0..height {
                values.extend((0..width).map(|x| value(x, y, c)));
            }
        }
    }
    let dims = [values.len() as u64];
    let tensor = match slot.elem {
        // An input of bytes takes pixels as they are; anything that is not whole after preprocessing is a mistake.
        ElemType::U8 => {
            let whole = |v: &f64| v.fract() == 0.0 && (0.0..=255.0).contains(v);
            if let Some(&value) = values.iter().find(|v| !whole(v)) {
                return Err(DataError::PixelsNotWhole { input: slot.name.to_string(), value });
            }
            let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
            Tensor::raw(ElemType::U8, dims.to_vec(), bytes.into())
        }
        elem => Tensor::from_f64(elem, &dims, &values),
    };
    let tensor = tensor.map_err(|e| slot.tensor(e))?;
    Ok(tensor.bytes().map_err(|e| slot.tensor(e))?.to_vec())
}
