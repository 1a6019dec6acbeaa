//! The colours of the plots. A drawing has the colours of a light page. A style sheet from the same table replaces them on a
//! dark page, so one drawing serves both.

use std::fmt::Write;

use plotters::style::RGBColor;

/// The colours and dashes of a line or a text.
#[derive(Debug)]
pub(super) struct Tint {
    /// The colour on a light page, and in the drawing.
    pub(super) light: RGBColor,
    dark: RGBColor,
    /// The lengths of dashes and gaps, in CSS pixels. None for a solid line.
    dash: Option<&'static [u32]>,
}

/// Text.
pub(super) static INK: Tint = solid((0x47, 0x50, 0x5c), (0xb6, 0xbf, 0xcb));
/// The grid.
pub(super) static GRID: Tint = solid((0xe2, 0xe5, 0xea), (0x2e, 0x35, 0x3f));
/// The axes.
pub(super) static AXIS: Tint = solid((0x9b, 0xa4, 0xb0), (0x5f, 0x69, 0x76));
/// The offered load, or an even share.
pub(super) static REFERENCE: Tint = dashed((0x5c, 0x66, 0x73), (0xa3, 0xad, 0xba), &[2, 4]);
/// Failures.
pub(super) static BAD: Tint = solid((0xb4, 0x23, 0x18), (0xff, 0x7b, 0x72));

/// Pauses of the load generator.
pub(super) static ODD: Tint = solid((0x8a, 0x4b, 0x00), (0xff, 0xb4, 0x54));

/// The lines, in order. The hues are those of Okabe and Ito's palette for colour-blind readers, darker or lighter so that
/// each is readable as text. Each line has its own dashes.
pub(super) static SERIES: [Tint; 8] = [
    solid((0x00, 0x5f, 0xa3), (0x5c, 0xb3, 0xff)),
    dashed((0xb3, 0x47, 0x00), (0xff, 0x9a, 0x57), &[9, 4]),
    dashed((0x00, 0x75, 0x57), (0x3d, 0xd6, 0xa5), &[3, 3]),
    dashed((0xa0, 0x3d, 0x7a), (0xee, 0x9f, 0xce), &[10, 3, 2, 3]),
    dashed((0x7a, 0x5a, 0x00), (0xf2, 0xc4, 0x4d), &[14, 4]),
    dashed((0x37, 0x41, 0x51), (0xd5, 0xdb, 0xe3), &[6, 2, 2, 2, 2, 2]),
    dashed((0x0b, 0x6b, 0x85), (0x67, 0xd5, 0xee), &[5, 5]),
    dashed((0x6a, 0x3f, 0xb5), (0xbd, 0xa4, 0xff), &[1, 3]),
];

/// Shares of a whole on a logarithmic scale, from the smallest to the largest. The colours are those of inferno (van der Walt
/// and Smith, 2015), whose luminance has the same order for every reader: its darker part on a light page, and its lighter part
/// on a dark one.
pub(super) static HEAT: [Tint; 9] = [
    solid((0xec, 0x6c, 0x23), (0xbc, 0x37, 0x54)),
    solid((0xdb, 0x50, 0x3b), (0xd1, 0x47, 0x44)),
    solid((0xc3, 0x3c, 0x4f), (0xe3, 0x5b, 0x32)),
    solid((0xa5, 0x2e, 0x5e), (0xf0, 0x73, 0x1d)),
    solid((0x87, 0x22, 0x69), (0xf8, 0x8f, 0x12)),
    solid((0x68, 0x16, 0x6e), (0xfb, 0xab, 0x12)),
    solid((0x4a, 0x0d, 0x69), (0xf8, 0xcb, 0x37)),
    solid((0x2a, 0x0b, 0x4e), (0xf8, 0xe6, 0x69)),
    solid((0x10, 0x08, 0x28), (0xfc, 0xff, 0xa4)),
];

/// A bar. A line across it stays visible.
pub(super) static BAR: Tint = solid((0x62, 0x94, 0xbf), (0x3a, 0x74, 0xa8));
/// The part of a bar between the least and the most of its values.
pub(super) static BAR_RANGE: Tint = solid((0x0f, 0x68, 0xac), (0x66, 0xb8, 0xff));

const fn solid(light: (u8, u8, u8), dark: (u8, u8, u8)) -> Tint {
    Tint { light: RGBColor(light.0, light.1, light.2), dark: RGBColor(dark.0, dark.1, dark.2), dash: None }
}

const fn dashed(light: (u8, u8, u8), dark: (u8, u8, u8), dash: &'static [u32]) -> Tint {
    Tint { dash: Some(dash), ..solid(light, dark) }
}

/// The tint of the line with this number.
pub(super) fn series(number: usize) -> &'static Tint {
    &SERIES[number % SERIES.len()]
}

impl Tint {
    /// The name of the tint in the drawing.
    pub(super) fn name(&self) -> String {
        hex(self.light)
    }
}

/// The style sheet of all drawings with this many units in a CSS pixel.
pub(super) fn css(units: u32) -> String {
    let mut css = String::new();
    let tints = || {
        let single = [&INK, &GRID, &AXIS, &REFERENCE, &BAD, &ODD, &BAR, &BAR_RANGE];
        single.into_iter().chain(&SERIES).chain(&HEAT)
    };
    for tint in tints() {
        if let Some(dash) = tint.dash {
            let dash: Vec<_> = dash.iter().map(|length| (length * units).to_string()).collect();
            let _ = writeln!(
                css,
                ".plot [stroke=\"{}\"]{{stroke-dasharray:{}}}",
                hex(tint.light),
                dash.join(" ")
            );
        }
    }
    css += "@media (prefers-color-scheme:dark){\n";
    for Tint { light, dark, .. } in tints() {
        let (light, dark) = (hex(*light), hex(*dark));
        let _ = writeln!(
            css,
            ".plot [stroke=\"{light}\"]{{stroke:{dark}}}.plot [fill=\"{light}\"]{{fill:{dark}}}"
        );
    }
    css + "}\n"
}

/// A colour as plotters writes it.
fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The relative luminance (WCAG 2.2).
    fn luminance(RGBColor(red, green, blue): RGBColor) -> f64 {
        let linear = |part: u8| match f64::from(part) / 255.0 {
            part if part <= 0.04045 => part / 12.92,
            part => ((part + 0.055) / 1.055).powf(2.4),
        };
        0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
    }

    fn contrast(one: RGBColor, other: RGBColor) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        f64::max(one, other) / f64::min(one, other)
    }

    #[test]
    fn every_line_and_text_is_readable_on_both_pages() {
        for tint in [&INK, &REFERENCE, &BAD, &ODD].into_iter().chain(&SERIES) {
            let on = [
                contrast(tint.light, RGBColor(255, 255, 255)),
                contrast(tint.dark, RGBColor(0x17, 0x1b, 0x21)),
            ];
            assert!(on.iter().all(|contrast| *contrast >= 4.5), "{tint:?}: {on:?}");
        }
    }

    #[test]
    fn shares_are_in_the_order_of_their_contrast_and_the_smallest_is_visible() {
        let on_light = HEAT.iter().map(|tint| contrast(tint.light, RGBColor(255, 255, 255)));
        let on_dark = HEAT.iter().map(|tint| contrast(tint.dark, RGBColor(0x17, 0x1b, 0x21)));
        for contrasts in [on_light.collect::<Vec<_>>(), on_dark.collect()] {
            // 3 is the least contrast of graphics (WCAG 2.2, 1.4.11).
            assert!(contrasts[0] >= 3.0, "{contrasts:?}");
            let steps: Vec<_> = contrasts.windows(2).map(|pair| pair[1] / pair[0]).collect();
            assert!(steps.iter().all(|step| *step > 1.1), "{steps:?}");
        }
    }

    #[test]
    fn a_bar_and_its_range_are_visible_and_differ() {
        for on in [
            [BAR.light, BAR_RANGE.light, RGBColor(255, 255, 255)],
            [BAR.dark, BAR_RANGE.dark, RGBColor(0x17, 0x1b, 0x21)],
        ] {
            assert!(contrast(on[0], on[1]) > 1.6 && contrast(on[0], on[2]) >= 3.0, "{on:?}");
            assert!(contrast(on[1], on[2]) >= 3.0, "{on:?}");
        }
    }

    #[test]
    fn no_two_tints_have_the_same_name() {
        // The style sheet finds a tint by its name.
        let all = [&INK, &GRID, &AXIS, &REFERENCE, &BAD, &ODD, &BAR, &BAR_RANGE];
        let names: Vec<_> = all.into_iter().chain(&SERIES).chain(&HEAT).map(Tint::name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }

    #[test]
    fn no_two_lines_have_the_same_dashes() {
        let dashes: BTreeSet<_> = SERIES.iter().map(|tint| tint.dash).collect();
        assert_eq!(dashes.len(), SERIES.len());
    }

    #[test]
    fn the_style_sheet_has_every_tint() {
        let css = css(4);
        let single = [&INK, &GRID, &AXIS, &REFERENCE, &BAD, &ODD, &BAR, &BAR_RANGE];
        for tint in single.into_iter().chain(&SERIES).chain(&HEAT) {
            assert!(css.contains(&format!("[fill=\"{}\"]{{fill:{}}}", tint.name(), hex(tint.dark))), "{css}");
        }
        assert!(
            css.contains(&format!("[stroke=\"{}\"]{{stroke-dasharray:36 16}}", SERIES[1].name())),
            "{css}"
        );
    }
}
