//! Handle pixels: stretch images over pictures, average, and encode as PNG.

/// Pixels of a PNG per inch.
pub(super) const DPI: f64 = 200.0;

/// Pixels with an alpha channel, row by row from the top.
pub(super) struct Image {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub columns: usize,
    pub rows: usize,
    pub rgba: Vec<u8>,
    pub smooth: bool,
}

impl Image {
    /// The colour at a position given as fractions of width and height.
    fn sample(&self, u: f64, v: f64) -> [f64; 4] {
        let pixel = |column: usize, row: usize| {
            let i = 4 * (row.min(self.rows - 1) * self.columns + column.min(self.columns - 1));
            [self.rgba[i], self.rgba[i + 1], self.rgba[i + 2], self.rgba[i + 3]].map(f64::from)
        };
        if !self.smooth {
            return pixel(
                (u * self.columns as f64) as usize,
                (v * self.rows as f64) as usize,
            );
        }
        let (x, y) = (
            (u * self.columns as f64 - 0.5).max(0.0),
            (v * self.rows as f64 - 0.5).max(0.0),
        );
        let (column, row) = (x as usize, y as usize);
        let (fx, fy) = (x - column as f64, y - row as f64);
        let mut mixed = [0.0; 4];
        for (weight, corner) in [
            ((1.0 - fx) * (1.0 - fy), pixel(column, row)),
            (fx * (1.0 - fy), pixel(column + 1, row)),
            ((1.0 - fx) * fy, pixel(column, row + 1)),
            (fx * fy, pixel(column + 1, row + 1)),
        ] {
            for (sum, value) in mixed.iter_mut().zip(corner) {
                *sum += weight * value;
            }
        }
        mixed
    }

    /// Lay it over pixels of three channels, `scale` of which make a point.
    pub fn paint(&self, pixels: &mut [u8], columns: usize, rows: usize, scale: f64) {
        if self.columns == 0 || self.rows == 0 {
            return;
        }
        let edge = |points: f64, most: usize| ((points * scale).round().max(0.0) as usize).min(most);
        let (left, right) = (edge(self.left, columns), edge(self.left + self.width, columns));
        let (top, bottom) = (edge(self.top, rows), edge(self.top + self.height, rows));
        for row in top..bottom {
            let v = (row - top) as f64 / (bottom - top) as f64;
            for column in left..right {
                let u = (column - left) as f64 / (right - left) as f64;
                let [r, g, b, a] = self.sample(u, v);
                let i = 3 * (row * columns + column);
                for (under, over) in pixels[i..i + 3].iter_mut().zip([r, g, b]) {
                    let mixed = f64::from(*under) * (1.0 - a / 255.0) + over * a / 255.0;
                    *under = mixed.round() as u8;
                }
            }
        }
    }

    /// It as an SVG tag that holds a PNG.
    pub fn tag(&self) -> std::result::Result<String, String> {
        let bytes = encode_png(
            &self.rgba,
            self.columns as u32,
            self.rows as u32,
            png::ColorType::Rgba,
        )?;
        let rendering = if self.smooth { "auto" } else { "pixelated" };
        Ok(format!(
            "<image x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:{rendering}\" href=\"data:image/png;base64,{}\"/>\n",
            self.left,
            self.top,
            self.width,
            self.height,
            base64(&bytes)
        ))
    }
}

/// Average blocks of `finer`² pixels.
pub(super) fn average(pixels: &[u8], columns: usize, rows: usize, finer: usize) -> Vec<u8> {
    if finer == 1 {
        return pixels.to_vec();
    }
    let (width, height) = (columns / finer, rows / finer);
    let count = (finer * finer) as u32;
    let mut small = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let mut sum = 0u32;
                for row in y * finer..(y + 1) * finer {
                    for column in x * finer..(x + 1) * finer {
                        sum += u32::from(pixels[3 * (row * columns + column) + channel]);
                    }
                }
                small.push(((sum + count / 2) / count) as u8);
            }
        }
    }
    small
}

/// The bytes of a PNG file: lines and areas are smaller without a filter, maps with one.
pub(super) fn encode_png(
    pixels: &[u8],
    width: u32,
    height: u32,
    colour: png::ColorType,
) -> std::result::Result<Vec<u8>, String> {
    let plain = encode_filtered(pixels, (width, height), colour, png::FilterType::NoFilter)?;
    let filtered = encode_filtered(pixels, (width, height), colour, png::FilterType::Up)?;
    Ok(if filtered.len() < plain.len() {
        filtered
    } else {
        plain
    })
}

fn encode_filtered(
    pixels: &[u8],
    (width, height): (u32, u32),
    colour: png::ColorType,
    filter: png::FilterType,
) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Best);
    encoder.set_filter(filter);
    let per_metre = (DPI / 0.0254).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: per_metre,
        yppu: per_metre,
        unit: png::Unit::Meter,
    }));
    let mut writer = encoder.write_header().map_err(|e| e.to_string())?;
    writer.write_image_data(pixels).map_err(|e| e.to_string())?;
    writer.finish().map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// RFC 4648.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for k in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * k)) as usize & 63];
            text.push(if k <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
