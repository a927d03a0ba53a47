//! Escapes, inside of classes and outside.

use super::error::RegexError;
use super::reader::{Before, Reader};

const UNKNOWN: RegexError = RegexError("it has an escape that RE2 does not know");

/// What an escape is in a class: a set, or one character, which is not written yet.
pub(super) enum Item {
    Set,
    Char(char),
}

impl Reader<'_, '_> {
    /// After a backslash outside of a class.
    pub(super) fn escape(&mut self, before: Before) -> Result<Before, RegexError> {
        let (is_empty, written) = match self.peek() {
            Some('Q') => {
                self.next();
                return Ok(self.quoted(before));
            }
            // In the crate `\b` is of Unicode, in RE2 of ASCII. An empty text has no boundary of a word.
            Some('b') => (false, r"(?-u:\b)"),
            Some('B') => (true, r"(?-u:\B)"),
            Some('A') => (true, r"\A"),
            Some('z') => (true, r"\z"),
            _ => {
                if let Item::Char(c) = self.item()? {
                    self.literal(c);
                }
                return Ok(self.atom(1, false));
            }
        };
        self.next();
        self.push_str(written);
        Ok(self.atom(1, is_empty))
    }

    /// Everything up to `\E`, or to the end, is meant literally.
    fn quoted(&mut self, mut before: Before) -> Before {
        while let Some(c) = self.next() {
            if c == '\\' && self.next_if('E').is_some() {
                break;
            }
            self.literal(c);
            before = self.atom(1, false);
        }
        before
    }

    /// After a backslash: a set of characters, which is written, or one character.
    pub(super) fn item(&mut self) -> Result<Item, RegexError> {
        let c = self.next().ok_or(RegexError("it ends in a backslash"))?;
        let set = match c {
            // In the crate these are sets of Unicode, in RE2 of ASCII.
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => r"[\t\n\f\r ]",
            'S' => r"[^\t\n\f\r ]",
            'p' | 'P' => {
                self.category(c == 'P')?;
                return Ok(Item::Set);
            }
            'a' => return Ok(Item::Char('\x07')),
            'f' => return Ok(Item::Char('\x0c')),
            'n' => return Ok(Item::Char('\n')),
            'r' => return Ok(Item::Char('\r')),
            't' => return Ok(Item::Char('\t')),
            'v' => return Ok(Item::Char('\x0b')),
            'x' => return self.hex().map(Item::Char),
            '0'..='7' => return self.octal(c).map(Item::Char),
            'C' => return Err(RegexError("\\C splits characters, which is not supported")),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => return Ok(Item::Char(c)),
            _ => return Err(UNKNOWN),
        };
        self.push_str(set);
        Ok(Item::Set)
    }

    /// `\xe9` or `\x{e9}`.
    fn hex(&mut self) -> Result<char, RegexError> {
        const BAD: RegexError = RegexError("it has a \\x escape that is not a character");
        let digits = if self.next_if('{').is_some() {
            self.up_to('}').filter(|digits| !digits.is_empty()).ok_or(BAD)?
        } else {
            let (digits, rest) = self.rest.split_at_checked(2).ok_or(BAD)?;
            self.rest = rest;
            digits
        };
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(BAD);
        }
        let code = u32::from_str_radix(digits, 16).ok();
        code.and_then(char::from_u32).ok_or(BAD)
    }

    /// `\0`, `\12`, `\123`; a single digit that is no zero would be a reference to a group, which RE2 has not.
    fn octal(&mut self, first: char) -> Result<char, RegexError> {
        let more = self
            .rest
            .bytes()
            .take(2)
            .take_while(|b| matches!(b, b'0'..=b'7'))
            .count();
        if more == 0 && first != '0' {
            return Err(UNKNOWN);
        }
        let (digits, rest) = self.rest.split_at(more);
        self.rest = rest;
        let code = digits
            .bytes()
            .fold(u32::from(first) - u32::from('0'), |code, digit| {
                code * 8 + u32::from(digit - b'0')
            });
        char::from_u32(code).ok_or(UNKNOWN)
    }

    /// After `\p`: `L`, `{Lu}`, `{Greek}`, `{^Lu}`. RE2 reads the names exactly as they are.
    fn category(&mut self, negated: bool) -> Result<(), RegexError> {
        let name = match self.next_if('{') {
            Some(_) => self.up_to('}').ok_or(UNKNOWN)?,
            None => {
                let len = self.peek().map_or(0, char::len_utf8);
                let (name, rest) = self.rest.split_at(len);
                self.rest = rest;
                name
            }
        };
        let (is_not, name) = name.strip_prefix('^').map_or((false, name), |name| (true, name));
        if !CATEGORIES.contains(&name) && scripts().all(|script| script != name) {
            return Err(RegexError(
                "of \\p, RE2 knows the general categories and the scripts of Unicode, such as \\pL, \\p{Lu} and \
                 \\p{Greek}",
            ));
        }
        self.push_str(if negated != is_not { "[^" } else { "[" });
        if name == "C" {
            // In the crate, also what is not assigned.
            self.push_str(r"\p{Cc}\p{Cf}\p{Co}");
        } else {
            self.push_str(r"\p{");
            self.push_str(name);
            self.push('}');
        }
        self.push(']');
        Ok(())
    }
}

/// The general categories that RE2 knows. `Cs` is of what is not a character, so nothing can be in it.
const CATEGORIES: [&str; 37] = [
    "C", "Cc", "Cf", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No",
    "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs", "Any",
    "ASCII",
];

/// The scripts of Unicode 15, as Go's `unicode.Scripts` names them.
pub(super) fn scripts() -> impl Iterator<Item = &'static str> {
    SCRIPTS.split(' ')
}

const SCRIPTS: &str = "\
    Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali \
    Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma \
    Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret Devanagari \
    Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic \
    Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana \
    Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada \
    Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu \
    Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen \
    Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi \
    Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu \
    Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian \
    Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene \
    Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian \
    Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa \
    Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto \
    Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square";
