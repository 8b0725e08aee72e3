//! The forms in which a text may have a secret: it is decoded in every way that fits, and each byte of what comes out
//! remembers where in the text it came from.
//!
//! Percent-encoding, the escapes of JSON and of HTML, and one of them within another; hexadecimal digits of either case,
//! also with separators; base64 of either alphabet, padded or not, broken into lines, and at each of the offsets that a
//! secret within a longer encoded text can have.

use std::ops::Range;

use zeroize::Zeroizing;

/// Decoded once more than this, nothing usual is left.
const DEEPEST: usize = 3;

/// A text that can be decoded in more ways is made to be.
const MOST_VIEWS: usize = 96;

/// A text, decoded.
pub(super) struct View {
    bytes: Zeroizing<Vec<u8>>,
    /// Where in the text each byte came from.
    from: Vec<(u32, u32)>,
    depth: usize,
    /// It was taken out of an encoding of bytes.
    binary: bool,
}

impl View {
    fn new(depth: usize, binary: bool) -> Self {
        Self { bytes: Zeroizing::new(Vec::new()), from: Vec::new(), depth, binary }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where in the text the bytes at `range` came from.
    pub(super) fn source(&self, range: Range<usize>) -> Range<usize> {
        let places = &self.from[range];
        match (places.first(), places.last()) {
            (Some(first), Some(last)) => first.0 as usize..last.1 as usize,
            _ => 0..0,
        }
    }

    fn push(&mut self, byte: u8, from: (u32, u32)) {
        self.bytes.push(byte);
        self.from.push(from);
    }

    /// The place of the bytes of `range`, as one.
    fn place(&self, range: Range<usize>) -> (u32, u32) {
        (self.from[range.start].0, self.from[range.end - 1].1)
    }
}

/// Calls `look` with `text` and with everything that it can be decoded to. Texts are shorter than 4 GiB.
pub(super) fn visit(text: &[u8], mut look: impl FnMut(&View)) {
    let places = (0..u32::MAX).zip(1..);
    let root =
        View { bytes: Zeroizing::new(text.to_vec()), from: places.take(text.len()).collect(), depth: 0, binary: false };
    let mut waiting = std::collections::VecDeque::from([root]);
    let mut seen = 0;
    while let Some(view) = waiting.pop_front() {
        look(&view);
        seen += 1;
        if view.depth == DEEPEST || seen + waiting.len() > MOST_VIEWS {
            continue;
        }
        waiting.extend([percent, form, json, html].into_iter().filter_map(|decoder| unescape(&view, decoder)));
        if !view.binary || view.depth < 2 {
            waiting.extend((0..4).filter_map(|offset| digits(&view, 6, offset)));
            waiting.extend((0..2).filter_map(|offset| digits(&view, 4, offset)));
        }
    }
}

/// What an escape at the beginning of some bytes stands for, and how long it is.
type Escape = fn(&[u8]) -> Option<(usize, Meaning)>;

enum Meaning {
    Byte(u8),
    Char(char),
}

/// The view without escapes; nothing where it has none.
fn unescape(view: &View, escape: Escape) -> Option<View> {
    let mut plain = View::new(view.depth + 1, view.binary);
    let (mut at, mut found) = (0, false);
    while at < view.bytes.len() {
        let Some((length, meaning)) = escape(&view.bytes[at..]) else {
            plain.push(view.bytes[at], view.from[at]);
            at += 1;
            continue;
        };
        let place = view.place(at..at + length);
        match meaning {
            Meaning::Byte(byte) => plain.push(byte, place),
            Meaning::Char(c) => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| plain.push(byte, place)),
        }
        found = true;
        at += length;
    }
    found.then_some(plain)
}

fn percent(bytes: &[u8]) -> Option<(usize, Meaning)> {
    match bytes {
        [b'%', high, low, ..] => Some((3, Meaning::Byte(nibble(*high)? << 4 | nibble(*low)?))),
        _ => None,
    }
}

/// As [`percent`], and a plus is a blank.
fn form(bytes: &[u8]) -> Option<(usize, Meaning)> {
    if bytes.first() == Some(&b'+') { Some((1, Meaning::Byte(b' '))) } else { percent(bytes) }
}

/// JSON, and what programming languages have besides.
fn json(bytes: &[u8]) -> Option<(usize, Meaning)> {
    let byte = |byte| Some((2, Meaning::Byte(byte)));
    match bytes {
        [b'\\', b'u', rest @ ..] => {
            let (length, unit) = unit(rest)?;
            let low = rest.get(length..).and_then(|rest| rest.strip_prefix(b"\\u")).and_then(self::unit);
            if let Some((more, low @ 0xdc00..0xe000)) = low.filter(|_| (0xd800..0xdc00).contains(&unit)) {
                let c = char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?;
                return Some((2 + length + 2 + more, Meaning::Char(c)));
            }
            Some((2 + length, Meaning::Char(char::from_u32(unit)?)))
        }
        [b'\\', b'x', high, low, ..] => Some((4, Meaning::Byte(nibble(*high)? << 4 | nibble(*low)?))),
        [b'\\', b'n', ..] => byte(b'\n'),
        [b'\\', b'r', ..] => byte(b'\r'),
        [b'\\', b't', ..] => byte(b'\t'),
        [b'\\', b'b', ..] => byte(8),
        [b'\\', b'f', ..] => byte(12),
        [b'\\', other, ..] if other.is_ascii_punctuation() => byte(*other),
        _ => None,
    }
}

/// `0041` or `{41}`.
fn unit(bytes: &[u8]) -> Option<(usize, u32)> {
    let number = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    if let Some(braced) = bytes.strip_prefix(b"{") {
        let end = braced.iter().take(7).position(|byte| *byte == b'}')?;
        return Some((end + 2, number(&braced[..end])?));
    }
    let digits = bytes.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    Some((4, number(digits)?))
}

fn html(bytes: &[u8]) -> Option<(usize, Meaning)> {
    const NAMES: &[(&str, char)] = &[
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("nbsp", ' '),
        ("plus", '+'),
        ("equals", '='),
        ("sol", '/'),
        ("bsol", '\\'),
        ("lowbar", '_'),
        ("period", '.'),
        ("colon", ':'),
        ("commat", '@'),
        ("dollar", '$'),
        ("percnt", '%'),
        ("num", '#'),
        ("excl", '!'),
        ("quest", '?'),
        ("ast", '*'),
        ("grave", '`'),
        ("lpar", '('),
        ("rpar", ')'),
        ("lsqb", '['),
        ("rsqb", ']'),
        ("lcub", '{'),
        ("rcub", '}'),
        ("verbar", '|'),
        ("comma", ','),
        ("semi", ';'),
        ("Hat", '^'),
        ("tilde", '~'),
    ];
    if bytes.first() != Some(&b'&') {
        return None;
    }
    let end = bytes.iter().take(12).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(&bytes[1..end]).ok()?;
    let c = match name.strip_prefix('#') {
        Some(number) => {
            let hex = number.strip_prefix(['x', 'X']);
            let number = hex.map_or_else(|| number.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
            char::from_u32(number?)?
        }
        None => NAMES.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((end + 1, Meaning::Char(c)))
}

/// What the digits of `view` stand for, `bits` each, where those of every run are read from the one at `offset` on;
/// nothing where it has no digits to speak of.
fn digits(view: &View, bits: usize, offset: usize) -> Option<View> {
    let value = |byte: u8| if bits == 6 { sextet(byte) } else { nibble(byte) };
    // Lines of base64 are joined, and so are pairs of digits with something in between.
    let joins = |byte: u8| matches!(byte, b'\r' | b'\n') || bits == 4 && matches!(byte, b' ' | b':');
    let mut plain = View::new(view.depth + 1, true);
    let mut run: Vec<usize> = Vec::new();
    let end = |run: &mut Vec<usize>, padded: usize, plain: &mut View| {
        let used = run.get(offset..).unwrap_or_default();
        // A text of three bytes takes four digits, one of two takes eight.
        for start in (0..).map(|byte| byte * 8).take_while(|start| start + 8 <= used.len() * bits) {
            let (first, last) = (start / bits, (start + 7) / bits);
            let number = used[first..=last]
                .iter()
                .fold(0_u32, |number, at| number << bits | u32::from(value(view.bytes[*at]).unwrap_or_default()));
            let surplus = (last + 1) * bits - (start + 8);
            let byte = u8::try_from(number >> surplus & 0xff).unwrap_or_default();
            // What fills up the last digits goes with them.
            let through = if last + 1 == used.len() { used[last] + padded } else { used[last] };
            plain.push(byte, (view.from[used[first]].0, view.from[through].1));
        }
        if !used.is_empty() {
            // Nothing is found across two runs.
            plain.push(0, view.from[used[0]]);
        }
        run.clear();
    };
    for (at, byte) in view.bytes.iter().enumerate() {
        if value(*byte).is_some() {
            run.push(at);
        } else if run.is_empty() || !joins(*byte) {
            let padding = view.bytes[at..].iter().take(2).take_while(|byte| **byte == b'=' && bits == 6).count();
            // Counted from the last digit, which stands right before.
            let padding = if run.last().is_some_and(|last| last + 1 == at) { padding } else { 0 };
            end(&mut run, padding, &mut plain);
        }
    }
    end(&mut run, 0, &mut plain);
    (plain.bytes.len() > super::SHORTEST).then_some(plain)
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}
